"""Fenced blocks → steps: the first word is the kind, the rest of the line says how."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping
from typing import Any

from guards.statements import Danger, classify
from recovery.model.durations import duration_s
from runbooks.book.document import Approve, Ask, Command, Effects, Parameter, Shell, Sql, Step, Type
from runbooks.book.problems import Reader

KINDS = ("rowback", "sql", "sh", "ask", "approve")
FLAGS = ("reads", "writes")
ATTRIBUTES = {
    "rowback": {"id", "timeout", "undo", "exit", "expect", "save"},
    "sh": {"id", "timeout", "undo", "exit", "expect", "save"},
    "sql": {"id", "timeout", "undo", "on", "rows", "expect", "save"},
    "ask": {"id", "type", "name", "default", "choices"},
    "approve": {"id"},
}
# Verbs that change nothing anywhere; all others are withheld from a preview.
READING = {
    "find",
    "doctor",
    "coverage",
    "plan",
    "diff",
    "peek",
    "verify",
    "cases",
    "status",
    "report",
    "wait",
    "guard show",
    "guard check",
    "runbook list",
    "runbook show",
    "runbook lint",
    "drills",
}
# With these even those act: on a case's plan, as a server, or by logging in where the book says.
ACTING = {"--again", "--incident-xid", "--on-conflict", "--mode", "--serve", "--dsn"}
DRY = {"restore", "reap"}  # what --dry-run turns into reading
LONGEST_COMMAND = 20_000


def fence(kind: str, token: Any, line: int, reader: Reader) -> Step | None:
    """A step of a fenced block: its first word is the kind, the rest says how.

    Raises ValueError for a line that is too long to be one.
    """
    try:
        if len(token.info) > LONGEST_COMMAND:
            raise ValueError(f"it has {len(token.info):,} characters")
        words = shlex.split(token.info)[1:]
    except ValueError as error:
        reader.wrong(line, "info-string", f"cannot be read: {error}")
        return None
    pairs = [word.partition("=") for word in words]
    saves = [value for name, _, value in pairs if name == "save"]
    attributes = {name: value for name, equals, value in pairs if equals and name != "save"}
    flags = {name for name, equals, _ in pairs if not equals}
    for name in (attributes.keys() - ATTRIBUTES[kind]) | (flags - set(FLAGS)):
        reader.wrong(line, "attribute", f"a {kind} step knows no '{name}'")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", attributes.get("id", "")):
        reader.wrong(line, "id", f"this {kind} step has no id=name in lower case")
    return _STEPS[kind](token.content.strip("\n"), attributes, (flags, saves), line, reader)


Extra = tuple[set[str], list[str]]


def _effects(attributes: Mapping[str, str], extra: Extra, line: int, reader: Reader, danger: Danger) -> Effects:
    flags, saves = extra
    timeout = duration_s(attributes.get("timeout", ""))
    if timeout is None:
        reader.wrong(line, "timeout", "it has no timeout=90s, 10m or 2h")
    undo = attributes.get("undo", "")
    reason = undo.removeprefix("none:").strip() if undo.startswith("none:") else ""
    exits = attributes.get("exit", "0").split(",")
    if not all(re.fullmatch(r"[0-9]{1,3}", code) for code in exits):
        reader.wrong(line, "exit", f"exit={attributes['exit']} is no list of numbers such as 0,43")
        exits = ["0"]
    _check_expected(attributes.get("expect", ""), line, reader)
    if undo.startswith("rowback ") and not words_of(undo):
        reader.wrong(line, "undo", f"undo={undo} cannot be split into words: a quote is not closed")
    if undo and not undo.startswith(("none:", "rowback ")):
        reader.wrong(line, "undo", f'undo={undo} is no rowback command; say undo="none: how to do it by hand"')
    named = [(name, path) for name, _, path in (each.partition("=") for each in saves)]
    for name, _ in named:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            reader.wrong(line, "save", f"save={name} is no lower-case name")
    if "reads" in flags and danger in (Danger.WRITE, Danger.DESTRUCTIVE):
        reader.wrong(line, "reads", "it is said to read only, and it writes")
    return Effects(
        reads=_reads(danger, flags),
        timeout_s=timeout or 0.0,
        undo="" if undo.startswith("none") else undo,
        no_undo=reason,
        exits=tuple(map(int, exits)),
        expects=attributes.get("expect", ""),
        saves=tuple(named),
    )


def _reads(danger: Danger, flags: Collection[str]) -> bool:
    """Whether a step counts as reading. The author's word decides only where nothing else can tell."""
    match danger:
        case Danger.READ:
            return "writes" not in flags
        case Danger.UNKNOWN:
            return "reads" in flags
        case _:
            return False


def _check_expected(pattern: str, line: int, reader: Reader) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        reader.wrong(line, "expect", f"expect={pattern} is no regular expression: {error}")


def _command(body: str, attributes: Mapping[str, str], extra: Extra, line: int, reader: Reader) -> Step:
    lines = tuple(each.strip() for each in body.replace("\\\n", " ").splitlines() if each.strip())
    if not lines:
        reader.wrong(line, "command", "there is no command in it")
    for each in lines:
        if not words_of(each):
            shown = each if len(each) <= 200 else f"{each[:200]}… ({len(each):,} characters)"
            reader.wrong(line, "command", f"'{shown}' cannot be split into words: a quote is not closed")
        elif not each.startswith("rowback "):
            reader.wrong(line, "command", f"'{each}' is no rowback command; other programs belong into sh")
    danger = Danger.READ if all(_only_reads(each) for each in lines) else Danger.WRITE
    return Command(attributes.get("id", ""), line, lines, _effects(attributes, extra, line, reader, danger))


def _only_reads(line: str) -> bool:
    words = words_of(line)[1:]
    dry = bool(words) and words[0] in DRY and "--dry-run" in words
    return dry or bool(words) and (words[0] in READING or " ".join(words[:2]) in READING)


def words_of(line: str) -> list[str]:
    """As a shell splits it; nothing where a quote is not closed, or of a line that no command has."""
    if len(line) > LONGEST_COMMAND:
        return []
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _sql(body: str, attributes: Mapping[str, str], extra: Extra, line: int, reader: Reader) -> Step:
    if not body.strip():
        reader.wrong(line, "command", "there is no statement in it")
    text = re.sub(r""":(['"])(\w+)\1""", "'x'", body)
    effects = _effects(attributes, extra, line, reader, classify(text).danger)
    rows = attributes.get("rows", "")
    if rows and not re.fullmatch(r"\d+\+?", rows):
        reader.wrong(line, "rows", f"rows={rows} is no number such as 0, 3 or 1+")
    return Sql(attributes.get("id", ""), line, body, attributes.get("on", "live"), effects, rows)


def _shell(body: str, attributes: Mapping[str, str], extra: Extra, line: int, reader: Reader) -> Step:
    return Shell(attributes.get("id", ""), line, body, _effects(attributes, extra, line, reader, Danger.UNKNOWN))


def _ask(body: str, attributes: Mapping[str, str], extra: Extra, line: int, reader: Reader) -> Step:
    id, type = attributes.get("id", ""), attributes.get("type", "text")
    if type not in list(Type):
        reader.wrong(line, "ask", f"'{type}' is no type")
        type = "text"
    choices = tuple(attributes["choices"].split(",")) if attributes.get("choices") else ()
    if type == "choice" and not choices:
        reader.wrong(line, "ask", "a choice needs choices=a,b")
    name = attributes.get("name", id.replace("-", "_"))
    return Ask(
        id,
        line,
        " ".join(body.split()),
        Parameter(name, Type(type), default=attributes.get("default"), choices=choices),
    )


def _approve(body: str, attributes: Mapping[str, str], extra: Extra, line: int, reader: Reader) -> Step:
    return Approve(attributes.get("id", ""), line, " ".join(body.split()))


_STEPS: Mapping[str, Callable[[str, Mapping[str, str], Extra, int, Reader], Step]] = {
    "rowback": _command,
    "sql": _sql,
    "sh": _shell,
    "ask": _ask,
    "approve": _approve,
}
