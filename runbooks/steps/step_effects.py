"""What a block says of its effects: time limit, undo, exit codes, what is expected of its output and saved from it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

from guards.statements import Danger
from recovery.model.durations import duration_s
from runbooks.steps.book_step import Effects, Fence

LONGEST_COMMAND = 20_000


def effects_of(fence: Fence, danger: Danger) -> Effects:
    """The effects of a step that runs something of that `danger`."""
    attributes = fence.attributes
    timeout = duration_s(attributes.get("timeout", ""))
    if timeout is None:
        fence.wrong("timeout", "it has no timeout=90s, 10m or 2h")
    undo = attributes.get("undo", "")
    reason = undo.removeprefix("none:").strip() if undo.startswith("none:") else ""
    exits = attributes.get("exit", "0").split(",")
    if not all(re.fullmatch(r"[0-9]{1,3}", code) for code in exits):
        fence.wrong("exit", f"exit={attributes['exit']} is no list of numbers such as 0,43")
        exits = ["0"]
    _check_expected(fence)
    _check_undo(fence, undo)
    named = [(name, path) for name, _, path in (each.partition("=") for each in fence.saves)]
    for name, _ in named:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            fence.wrong("save", f"save={name} is no lower-case name")
    if "reads" in fence.flags and danger in (Danger.WRITE, Danger.DESTRUCTIVE):
        fence.wrong("reads", "it is said to read only, and it writes")
    return Effects(
        reads=_reads(danger, fence.flags),
        timeout_s=timeout or 0.0,
        undo="" if undo.startswith("none") else undo,
        no_undo=reason,
        exits=tuple(map(int, exits)),
        expects=attributes.get("expect", ""),
        saves=tuple(named),
    )


def words_of(line: str) -> list[str]:
    """As a shell splits it; nothing where a quote is not closed, or of a line that no command has."""
    if len(line) > LONGEST_COMMAND:
        return []
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _check_undo(fence: Fence, undo: str) -> None:
    if undo.startswith("rowback ") and not words_of(undo):
        fence.wrong("undo", f"undo={undo} cannot be split into words: a quote is not closed")
    if undo and not undo.startswith(("none:", "rowback ")):
        fence.wrong("undo", f'undo={undo} is no rowback command; say undo="none: how to do it by hand"')


def _reads(danger: Danger, flags: Collection[str]) -> bool:
    """Whether a step counts as reading. The author's word decides only where nothing else can tell."""
    match danger:
        case Danger.READ:
            return "writes" not in flags
        case Danger.UNKNOWN:
            return "reads" in flags
        case _:
            return False


def _check_expected(fence: Fence) -> None:
    pattern = fence.attributes.get("expect", "")
    try:
        re.compile(pattern)
    except re.error as error:
        fence.wrong("expect", f"expect={pattern} is no regular expression: {error}")
