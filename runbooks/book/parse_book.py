"""Markdown → Book. CommonMark through markdown-it; what is not understood is an error with its line, never skipped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from recovery.errors import ErrorId, RowbackError
from recovery.model.approval import Distinct
from recovery.model.durations import duration_s
from recovery.model.nearest import nearest, nearest_line
from recovery.redaction import named_like_secret
from runbooks.book.document import Book, Note, Section
from runbooks.book.fences import step_of
from runbooks.steps.book_step import RUN_DIR, BookStep, Parameter, Type
from runbooks.steps.person_steps import Confirm
from runbooks.steps.problems import Problem, Reader
from runbooks.steps.step_kinds import KINDS

MOST_BYTES = 2**20
FRONT_KEYS = {"title", "purpose", "when", "parameters", "objectives", "connections", "approvals_by"}
_FRONT = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)
NESTED = "a step inside a list or quotation is never run; put it at the margin"
_TASK_LIKE = re.compile(r"[\s>]*(?:[-*+]|\d+[.)])\s*\[[ xX]\](?!\()")
_FENCE_LIKE = re.compile(r"[\s>]*(?:(?:[-*+]|\d+[.)])\s+)?(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)$")
_TASK = re.compile(r"\[[ xX]\]\s+(.*)", re.DOTALL)


def books_directory() -> Path:
    """Where the shipped books are."""
    return Path(str(files("runbooks").joinpath("books")))


def find_book(name: str) -> Path:
    """A file, or a shipped book by its name. Raises usage with the nearest names."""
    if Path(name).is_file():
        return Path(name)
    shipped = {path.stem: path for path in sorted(books_directory().glob("*.md"))}
    if name in shipped:
        return shipped[name]
    near = nearest(name, shipped)
    raise RowbackError(
        ErrorId.USAGE,
        f"there is no runbook '{name}'",
        *([nearest_line(near, "")] if near else []),
        state="nothing was done",
        help="list them: rowback runbook list",
    )


def read_book(path: Path) -> Book:
    """The book of a file. Raises book-invalid with the first problem and how many more there are."""
    book, problems = parse(path.stem, _text(path))
    if problems:
        raise RowbackError(
            ErrorId.BOOK_INVALID,
            f"{path}:{problems[0].line}: {problems[0].text}",
            *([f"and {len(problems) - 1} more"] if problems[1:] else []),
            state="nothing was done",
            help=f"rowback runbook lint {path}",
        )
    return book


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise RowbackError(
            ErrorId.BOOK_INVALID,
            f"{path} cannot be read: {error}",
            state="nothing was done",
            help="rowback runbook list",
        ) from error


def read_text(path: Path) -> str:
    """The text of a book's file. Raises OSError, also for one that is larger than any book; UnicodeDecodeError."""
    if path.stat().st_size > MOST_BYTES:
        raise OSError(27, f"it is larger than {MOST_BYTES // 2**10} KiB, which no book is", str(path))
    return path.read_text()


def parse(name: str, text: str) -> tuple[Book, list[Problem]]:
    """The book as far as it can be understood, and everything that cannot."""
    from markdown_it import MarkdownIt

    reader = Reader()
    head = _FRONT.match(text)
    front = _front_matter(head, reader)
    tokens = MarkdownIt("commonmark").parse(text[head.end() :] if head else text)
    sections = _sections(tokens, text.splitlines(), head[0].count("\n") if head else 0, reader)
    book = Book(
        name=name,
        title=str(front.get("title", "")),
        purpose=str(front.get("purpose", "")).strip(),
        when=str(front.get("when", "")).strip(),
        text=text,
        parameters=tuple(_parameters(front, reader)),
        sections=tuple(sections),
        connections=_mapping(front, "connections", reader),
        approvals_by=str(front.get("approvals_by", "principal")),
        **_objectives(front, reader),
    )
    _refuse_silence(book, reader)
    _refuse_passed_over(book, reader)
    _refuse_names(book, reader)
    return book, reader.problems


def _refuse_silence(book: Book, reader: Reader) -> None:
    """A run without steps would be a success; of two steps with one name the second would count as done."""
    if not book.steps:
        reader.wrong(1, "empty", "there is no step in it")
    for id, count in Counter(step.id for step in book.steps).items():
        if count > 1:
            last = [step for step in book.steps if step.id == id][-1]
            reader.wrong(last.line, "id", f"{count} steps are called '{id}'")


def _refuse_passed_over(book: Book, reader: Reader) -> None:
    """Whatever looks like a step, or like something that a person is to do, and was not read as one."""
    lines_read = {step.line for step in book.steps} | {problem.line for problem in reader.problems}
    fence = ""
    for number, line in enumerate(book.text.splitlines(), 1):
        opened = _FENCE_LIKE.match(line)
        if fence:
            fence = "" if line.strip(" >").startswith(fence) and not line.strip(" >").strip(fence[0]) else fence
        elif opened:
            fence = opened["marks"]
            words = opened["info"].split()
            if words and (words[0] in KINDS or _is_step(opened["info"])) and number not in lines_read:
                reader.wrong(number, "nested-step", NESTED)
        elif _TASK_LIKE.match(line) and number not in lines_read:
            reader.wrong(number, "task", "nobody is asked for this: a manual step is `- [ ] words` at the margin")


def _refuse_names(book: Book, reader: Reader) -> None:
    names = [name for name, _ in book.produced()]
    if names.count(RUN_DIR) > 1:
        reader.wrong(1, "parameter", "run_dir is each run's own directory, and nothing else")
    for name in names[1:]:
        if named_like_secret(name):
            reader.wrong(
                1, "secret", f"{name.lower()} is named like a secret, and runs keep values: use the environment"
            )
    for name, variable in book.connections.items():
        if not isinstance(variable, str) or not re.fullmatch(r"[A-Za-z_]\w*", variable):
            reader.wrong(1, "connection", f"connection {name} names no environment variable that holds its DSN")


def _front_matter(match: re.Match[str] | None, reader: Reader) -> Mapping[str, Any]:
    """The YAML at the top; empty where there is none."""
    import yaml

    if not match:
        reader.wrong(1, "front-matter", "a runbook begins with front matter between two lines of ---")
        return {}
    try:
        front = yaml.load(match[1], Loader=_plain_loader())  # noqa: S506 (a safe loader, less aliases)
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # a day that does not exist
        reader.wrong(1, "front-matter", f"the front matter is no YAML: {' '.join(str(error).split())}")
        return {}
    if not isinstance(front, dict):
        reader.wrong(1, "front-matter", "the front matter is no mapping")
        return {}
    for key in front.keys() - FRONT_KEYS:
        reader.wrong(1, "front-matter", f"unknown key '{key}' in the front matter")
    for key in ("title", "purpose", "when"):
        if not front.get(key):
            reader.wrong(1, "front-matter", f"the front matter has no {key}")
    return front


@cache
def _plain_loader() -> type[Any]:
    """YAML without aliases: a few lines of them stand for gigabytes, and front matter needs none."""
    import yaml

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            """Raise YAMLError for an alias, which can multiply without end."""
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has an alias: write the value itself")
            return super().compose_node(parent, index)

    return Plain


def _mapping(front: Mapping[str, Any], key: str, reader: Reader) -> dict[str, Any]:
    mapping = front.get(key) or {}
    if not isinstance(mapping, dict):
        reader.wrong(1, "front-matter", f"{key} is no mapping")
        return {}
    return {str(name): value for name, value in mapping.items()}


def _parameters(front: Mapping[str, Any], reader: Reader) -> Iterator[Parameter]:
    for name, declared in _mapping(front, "parameters", reader).items():
        attributes = declared if isinstance(declared, dict) else {"type": declared}
        unknown = attributes.keys() - {"type", "help", "default", "example", "choices"}
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or unknown or attributes.get("type", "text") not in list(Type):
            reader.wrong(1, "parameter", f"parameter '{name}' needs a lower-case name, a known type, and known keys")
            continue
        default = attributes.get("default")
        yield Parameter(
            name=name,
            type=Type(attributes.get("type", "text")),
            help=str(attributes.get("help", "")),
            default=None if default is None else str(default),
            example=str(attributes.get("example", "")),
            choices=tuple(map(str, choices))
            if isinstance(choices := attributes.get("choices") or (), list | tuple)
            else (),
        )


def _objectives(front: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
    objectives: dict[str, Any] = {}
    if front.get("approvals_by", "principal") not in list(Distinct):
        reader.wrong(1, "front-matter", f"approvals_by: {front['approvals_by']} is none of {', '.join(Distinct)}")
    for key, value in _mapping(front, "objectives", reader).items():
        seconds = duration_s(str(value))
        if key not in ("recovery_time", "data_loss") or seconds is None:
            reader.wrong(
                1, "objective", f"objective '{key}: {value}' is not recovery_time or data_loss with a duration"
            )
        else:
            objectives[f"{key}_s"] = seconds
    return objectives


def _sections(tokens: Sequence[Any], lines: list[str], offset: int, reader: Reader) -> Iterator[Section]:
    title, level = "", 1
    parts: list[Note | BookStep] = []
    for kind, token, inline in _blocks(tokens):
        if kind == "heading":
            if title or parts:
                yield Section(title, level, tuple(parts))
            title, level, parts = inline.content, int(token.tag[1]), []
        elif part := _part(kind, token, inline, (lines, offset), reader):
            parts.append(part)
    if title or parts:
        yield Section(title, level, tuple(parts))


def _part(kind: str, token: Any, inline: Any, where: tuple[list[str], int], reader: Reader) -> Note | BookStep | None:
    lines, offset = where
    line = token.map[0] + offset + 1 if token.map else offset + 1
    if kind == "nested":
        reader.wrong(line, "nested-step", NESTED)
        return None
    if kind == "fence" and (words := token.info.split()):
        if words[0] in KINDS:
            return step_of(words[0], token, line, reader)
        if _is_step(token.info):
            reader.wrong(line, "unknown-step", f"'{words[0]}' is no kind of step; known: {', '.join(KINDS)}")
    if kind == "task":
        question = " ".join(_TASK.match(inline.content)[1].split())  # type: ignore[index]
        return Confirm(_slug(question) or f"task-{line}", line, question)
    return Note("\n".join(lines[line - 1 : token.map[1] + offset]) if token.map else "", line)


def _blocks(tokens: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    """The top-level blocks, and the items of task lists one by one."""
    index = 0
    while index < len(tokens):
        token = tokens[index]
        end = _end_of(tokens, index)
        inside = tokens[index:end]
        if token.type == "heading_open":
            yield "heading", token, inside[1]
        else:
            items = list(_tasks(inside)) if token.type == "bullet_list_open" else []
            yield from items or [(token.type, token, None)]
            yield from (("nested", each, None) for each in inside[1:] if each.type == "fence" and _is_step(each.info))
        index = end


def _is_step(info: str) -> bool:
    """Or is meant to be one: an example for people has no id."""
    return any(word.startswith("id=") for word in info.split()[1:])


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
