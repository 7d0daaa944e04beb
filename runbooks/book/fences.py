"""Fenced blocks → steps: the first word is the kind, the rest of the line says how."""

from __future__ import annotations

import re
import shlex
from typing import Any

from runbooks.steps.book_step import BookStep, Fence
from runbooks.steps.problems import Reader
from runbooks.steps.step_effects import LONGEST_COMMAND
from runbooks.steps.step_kinds import KINDS

FLAGS = ("reads", "writes")


def step_of(word: str, token: Any, line: int, reader: Reader) -> BookStep | None:
    """The step of a block of the kind `word`; None where its first line cannot be read, a problem."""
    kind = KINDS[word]
    try:
        words = _split(token.info)[1:]
    except ValueError as error:
        reader.wrong(line, "info-string", f"cannot be read: {error}")
        return None
    pairs = [each.partition("=") for each in words]
    saves = tuple(value for name, _, value in pairs if name == "save")
    attributes = {name: value for name, equals, value in pairs if equals and name != "save"}
    flags = frozenset(name for name, equals, _ in pairs if not equals)
    for name in (attributes.keys() - kind.attributes) | (flags - set(FLAGS)):
        reader.wrong(line, "attribute", f"a {word} step knows no '{name}'")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", attributes.get("id", "")):
        reader.wrong(line, "id", f"this {word} step has no id=name in lower case")
    return kind.of_fence(Fence(token.content.strip("\n"), attributes, flags, saves, line, reader))


def _split(info: str) -> list[str]:
    if len(info) > LONGEST_COMMAND:
        raise ValueError(f"it has {len(info):,} characters")
    return shlex.split(info)
