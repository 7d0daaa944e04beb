"""The kinds of steps that books may write as blocks, by their first word: the registry."""

from __future__ import annotations

from collections.abc import Mapping

from runbooks.steps.book_step import FencedStep
from runbooks.steps.person_steps import Approve, Ask
from runbooks.steps.rowback_command import Command
from runbooks.steps.shell_script import Shell
from runbooks.steps.sql_statement import Sql

KINDS: Mapping[str, type[FencedStep]] = {kind.kind: kind for kind in (Command, Sql, Shell, Ask, Approve)}
