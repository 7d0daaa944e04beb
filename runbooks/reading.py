"""Markdown → Book. CommonMark through markdown-it; what is not understood is told with its line, never passed over."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from guards.statements import Danger, classify
from recovery.errors import ErrorId, RowbackError
from runbooks.document import (
    Approve,
    Ask,
    Book,
    Command,
    Confirm,
    Effects,
    Note,
    Parameter,
    Section,
    Shell,
    Sql,
    Step,
    Type,
)  # fmt: skip

KINDS = ("rowback", "sql", "sh", "ask", "approve")
FLAGS = ("reads", "writes")
KNOWN = {
    "rowback": {"id", "timeout", "undo", "exit", "expect", "save"},
    "sh": {"id", "timeout", "undo", "exit", "expect", "save"},
    "sql": {"id", "timeout", "undo", "on", "rows", "expect", "save"},
    "ask": {"id", "type", "name", "default", "choices"},
    "approve": {"id"},
}
# Verbs that change nothing anywhere; all others are withheld from a preview.
READING = {
    "find", "doctor", "coverage", "plan", "diff", "peek", "verify", "cases", "status", "report", "guard show",
    "guard check", "runbook list", "runbook show", "runbook lint", "drills",
}  # fmt: skip
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
FRONT_KEYS = {"title", "purpose", "when", "parameters", "objectives", "connections", "approvals_by"}
_FRONT = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)
_TASK = re.compile(r"\[[ xX]\]\s+(.*)", re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """Something in a book that cannot stand. `rule`: its stable name."""

    line: int
    rule: str
    text: str


@dataclass
class _Reader:
    """Collects problems instead of stopping at the first."""

    problems: list[Problem] = field(default_factory=list)

    def wrong(self, line: int, rule: str, text: str) -> None:
        self.problems.append(Problem(line, rule, text))


def books_directory() -> Path:
    """Where the shipped books are."""
    return Path(str(files("runbooks").joinpath("books")))


def find_book(name: str) -> Path:
    """A file, or a shipped book by its name. Raises usage with the nearest names."""
    from difflib import get_close_matches

    if Path(name).is_file():
        return Path(name)
    shipped = {path.stem: path for path in sorted(books_directory().glob("*.md"))}
    if name in shipped:
        return shipped[name]
    near = get_close_matches(name, shipped, n=3, cutoff=0.3)
    raise RowbackError(
        ErrorId.USAGE, f"there is no runbook '{name}'", *([f"nearest names: {', '.join(near)}"] if near else []),
        state="nothing was done", help="list them: rowback runbook list",
    )  # fmt: skip


def read_book(path: Path) -> Book:
    """The book of a file. Raises book-invalid with the first problem and how many more there are."""
    book, problems = parse(path.stem, _text(path))
    if problems:
        raise RowbackError(
            ErrorId.BOOK_INVALID, f"{path}:{problems[0].line}: {problems[0].text}",
            *([f"and {len(problems) - 1} more"] if problems[1:] else []), state="nothing was done",
            help=f"rowback runbook lint {path}",
        )  # fmt: skip
    return book


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RowbackError(
            ErrorId.BOOK_INVALID, f"{path} cannot be read: {error}", state="nothing was done",
            help="rowback runbook list",
        ) from error  # fmt: skip


def parse(name: str, text: str) -> tuple[Book, list[Problem]]:
    """The book as far as it can be understood, and everything that cannot."""
    from markdown_it import MarkdownIt

    reader = _Reader()
    front, offset = _front_matter(text, reader)
    tokens = MarkdownIt("commonmark").parse(text[_FRONT.match(text).end() :] if _FRONT.match(text) else text)  # type: ignore[union-attr]
    lines = text.splitlines()
    sections = _sections(tokens, lines, offset, reader)
    book = Book(
        name=name, title=str(front.get("title", "")), purpose=str(front.get("purpose", "")).strip(),
        when=str(front.get("when", "")).strip(), text=text, parameters=tuple(_parameters(front, reader)),
        sections=tuple(sections), connections=_mapping(front, "connections", reader),
        approvals_by=str(front.get("approvals_by", "principal")), **_objectives(front, reader),
    )  # fmt: skip
    return book, reader.problems


def _front_matter(text: str, reader: _Reader) -> tuple[Mapping[str, Any], int]:
    """The YAML at the top, and the number of lines it takes."""
    import yaml

    found = _FRONT.match(text)
    if not found:
        reader.wrong(1, "front-matter", "a runbook begins with front matter between two lines of ---")
        return {}, 0
    try:
        front = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        reader.wrong(1, "front-matter", f"the front matter is no YAML: {' '.join(str(error).split())}")
        return {}, found[0].count("\n")
    if not isinstance(front, dict):
        reader.wrong(1, "front-matter", "the front matter is no mapping")
        return {}, found[0].count("\n")
    for key in front.keys() - FRONT_KEYS:
        reader.wrong(1, "front-matter", f"unknown key '{key}' in the front matter")
    for key in ("title", "purpose", "when"):
        if not front.get(key):
            reader.wrong(1, "front-matter", f"the front matter has no {key}")
    return front, found[0].count("\n")


def _mapping(front: Mapping[str, Any], key: str, reader: _Reader) -> dict[str, Any]:
    found = front.get(key) or {}
    if not isinstance(found, dict):
        reader.wrong(1, "front-matter", f"{key} is no mapping")
        return {}
    return {str(name): value for name, value in found.items()}


def _parameters(front: Mapping[str, Any], reader: _Reader) -> Iterator[Parameter]:
    for name, said in _mapping(front, "parameters", reader).items():
        given = said if isinstance(said, dict) else {"type": said}
        unknown = given.keys() - {"type", "help", "default", "example", "choices"}
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or unknown or given.get("type", "text") not in list(Type):
            reader.wrong(1, "parameter", f"parameter '{name}' needs a lower-case name, a known type, and known keys")
            continue
        default = given.get("default")
        yield Parameter(
            name=name, type=Type(given.get("type", "text")), help=str(given.get("help", "")),
            default=None if default is None else str(default), example=str(given.get("example", "")),
            choices=tuple(map(str, given.get("choices") or ())),
        )  # fmt: skip


def _objectives(front: Mapping[str, Any], reader: _Reader) -> dict[str, Any]:
    found = {}
    for key, value in _mapping(front, "objectives", reader).items():
        seconds = duration_s(str(value))
        if key not in ("recovery_time", "data_loss") or seconds is None:
            reader.wrong(
                1, "objective", f"objective '{key}: {value}' is not recovery_time or data_loss with a duration"
            )
        else:
            found[f"{key}_s"] = seconds
    return found


def duration_s(text: str) -> float | None:
    """`90s`, `10m`, `2h` as seconds; None for anything else."""
    found = re.fullmatch(r"(\d+)([smh])", text)
    return int(found[1]) * UNITS_S[found[2]] if found else None


def _sections(tokens: Sequence[Any], lines: list[str], offset: int, reader: _Reader) -> Iterator[Section]:
    title, level = "", 1
    parts: list[Note | Step] = []
    for kind, token, inline in _blocks(tokens):
        line = token.map[0] + offset + 1 if token.map else offset + 1
        if kind == "heading":
            if title or parts:
                yield Section(title, level, tuple(parts))
            title, level, parts = inline.content, int(token.tag[1]), []
        elif kind == "fence" and (words := token.info.split()) and words[0] in KINDS:
            if step := _fence(words[0], token, line, reader):
                parts.append(step)
        elif kind == "task":
            question = " ".join(_TASK.match(inline.content)[1].split())  # type: ignore[index]
            parts.append(Confirm(_slug(question), line, question))
        else:
            parts.append(Note("\n".join(lines[line - 1 : token.map[1] + offset]) if token.map else "", line))
    if title or parts:
        yield Section(title, level, tuple(parts))


def _blocks(tokens: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    """The top-level blocks, and the items of task lists one by one."""
    index = 0
    while index < len(tokens):
        token = tokens[index]
        end = _end_of(tokens, index)
        inside = tokens[index:end]
        if token.type == "heading_open":
            yield "heading", token, inside[1]
        elif token.type == "bullet_list_open" and (items := list(_tasks(inside))):
            yield from items
        else:
            yield token.type, token, None
        index = end


def _tasks(tokens: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    for position, token in enumerate(tokens):
        if token.type == "list_item_open":
            inline = next((each for each in tokens[position:] if each.type == "inline"), None)
            if inline is not None and _TASK.match(inline.content):
                yield "task", token, inline


def _end_of(tokens: Sequence[Any], start: int) -> int:
    depth = 0
    for index in range(start, len(tokens)):
        depth += tokens[index].nesting
        if depth <= 0:
            return index + 1
    return len(tokens)


def _slug(text: str) -> str:
    """The first five words: a task is known by them."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())[:5])


def _fence(kind: str, token: Any, line: int, reader: _Reader) -> Step | None:
    """A step of a fenced block: its first word is the kind, the rest says how."""
    try:
        words = shlex.split(token.info)[1:]
    except ValueError as error:
        reader.wrong(line, "info-string", f"cannot be read: {error}")
        return None
    pairs = [word.partition("=") for word in words]
    saves = [value for name, _, value in pairs if name == "save"]
    said = {name: value for name, equals, value in pairs if equals and name != "save"}
    flags = {name for name, equals, _ in pairs if not equals}
    for name in (said.keys() - KNOWN[kind]) | (flags - set(FLAGS)):
        reader.wrong(line, "attribute", f"a {kind} step knows no '{name}'")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", said.get("id", "")):
        reader.wrong(line, "id", f"this {kind} step has no id=name in lower case")
    return _STEPS[kind](token.content.strip("\n"), said, (flags, saves), line, reader)


Extra = tuple[set[str], list[str]]


def _effects(said: Mapping[str, str], extra: Extra, line: int, reader: _Reader, *, reads: bool) -> Effects:
    flags, saves = extra
    timeout = duration_s(said.get("timeout", ""))
    if timeout is None:
        reader.wrong(line, "timeout", "it has no timeout=90s, 10m or 2h")
    undo = said.get("undo", "")
    reason = undo.removeprefix("none:").strip() if undo.startswith("none:") else ""
    exits = [code for code in said.get("exit", "0").split(",") if code.isdecimal()]
    named = [(name, path) for name, _, path in (each.partition("=") for each in saves)]
    for name, _ in named:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            reader.wrong(line, "save", f"save={name} is no lower-case name")
    reads = "reads" in flags or (reads and "writes" not in flags)
    return Effects(
        reads=reads, timeout_s=timeout or 0.0, undo="" if undo.startswith("none") else undo, no_undo=reason,
        exits=tuple(map(int, exits)), expects=said.get("expect", ""), saves=tuple(named),
    )  # fmt: skip


def _command(body: str, said: Mapping[str, str], extra: Extra, line: int, reader: _Reader) -> Step:
    lines = tuple(each.strip() for each in body.replace("\\\n", " ").splitlines() if each.strip())
    for each in lines:
        if not each.startswith("rowback "):
            reader.wrong(line, "command", f"'{each}' is no rowback command; other programs belong into sh")
    reads = all(_only_reads(each) for each in lines)
    return Command(said.get("id", ""), line, lines, _effects(said, extra, line, reader, reads=reads))


def _only_reads(line: str) -> bool:
    words = line.split()[1:3]
    return bool(words) and (words[0] in READING or " ".join(words) in READING or "--dry-run" in line)


def _sql(body: str, said: Mapping[str, str], extra: Extra, line: int, reader: _Reader) -> Step:
    text = re.sub(r""":(['"])(\w+)\1""", "'x'", body)
    reads = classify(text).danger is Danger.READ
    effects = _effects(said, extra, line, reader, reads=reads)
    rows = said.get("rows", "")
    if rows and not re.fullmatch(r"\d+\+?", rows):
        reader.wrong(line, "rows", f"rows={rows} is no number such as 0, 3 or 1+")
    return Sql(said.get("id", ""), line, body, said.get("on", "live"), effects, rows)


def _shell(body: str, said: Mapping[str, str], extra: Extra, line: int, reader: _Reader) -> Step:
    return Shell(said.get("id", ""), line, body, _effects(said, extra, line, reader, reads=False))


def _ask(body: str, said: Mapping[str, str], extra: Extra, line: int, reader: _Reader) -> Step:
    id, type = said.get("id", ""), said.get("type", "text")
    if type not in list(Type):
        reader.wrong(line, "ask", f"'{type}' is no type")
        type = "text"
    choices = tuple(said["choices"].split(",")) if said.get("choices") else ()
    name = said.get("name", id.replace("-", "_"))
    return Ask(
        id, line, " ".join(body.split()), Parameter(name, Type(type), default=said.get("default"), choices=choices)
    )


def _approve(body: str, said: Mapping[str, str], extra: Extra, line: int, reader: _Reader) -> Step:
    return Approve(said.get("id", ""), line, " ".join(body.split()))


_STEPS: Mapping[str, Callable[[str, Mapping[str, str], Extra, int, _Reader], Step]] = {
    "rowback": _command, "sql": _sql, "sh": _shell, "ask": _ask, "approve": _approve,
}  # fmt: skip
