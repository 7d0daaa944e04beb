"""Requests that must be refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from recovery.model.target import format_utc
from tests.fix_cli import Cli, Ran

NOTHING = "nothing was created, nothing was written"


def plan(cli: Cli, database: str, target: datetime, *more: str, **environment: str) -> Ran:
    ran = cli("plan", cli.live.identifier, "--at", format_utc(target), "--database", database, *more, **environment)
    assert (ran.out == "") is (ran.code != 0)
    if ran.code:
        assert not list(Path().glob("plan-*"))
    return ran
