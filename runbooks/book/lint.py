"""What can be wrong with a runbook that reads well (sources: OPS-runbooks), reported before it is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from recovery.redaction import Redactor
from runbooks.book.document import Book, Note
from runbooks.book.parse_book import parse, read_text
from runbooks.steps.book_step import VARIABLE, BookStep, Executed, PersonStep
from runbooks.steps.problems import Problem
from runbooks.steps.rowback_command import Command
from runbooks.steps.shell_script import SHELL_PREFIX
from runbooks.steps.sql_statement import ORIGINAL, Sql
from runbooks.steps.step_effects import words_of

if TYPE_CHECKING:
    import click

OPENS, CLOSES = {"open"}, {"close", "reap", "resume"}
_PLACE = re.compile(r""":['"](\w+)['"]""")
_LITERAL = re.compile(r"\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")


def lint(path: Path) -> list[Problem]:
    """Every problem of one file, by line."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        return [Problem(1, "unreadable", f"it cannot be read: {error}")]
    book, problems = parse(path.stem, text)
    for rule in RULES:
        problems += rule(book)
    return sorted(problems, key=lambda problem: problem.line)


def _executed(book: Book) -> Iterator[Executed]:
    yield from (step for step in book.steps if isinstance(step, Executed))


def _undo(book: Book) -> Iterator[Problem]:
    for step in _executed(book):
        if not step.effects.reads and not step.effects.undo and not step.effects.no_undo:
            yield Problem(step.line, "undo", f"step '{step.id}' writes: say undo=COMMAND, or undo=\"none: why\"")


def _one_write(book: Book) -> Iterator[Problem]:
    """After a crash it must be determined whether the step took effect: that is possible for one command only."""
    for step in _executed(book):
        if isinstance(step, Command) and not step.effects.reads and len(step.lines) > 1:
            yield Problem(
                step.line, "one-write", f"step '{step.id}' writes with {len(step.lines)} commands: a step each"
            )


def _variables(book: Book) -> Iterator[Problem]:
    defined = {name for name, step in book.produced() if step is None}
    names = dict(book.produced())
    for step in book.steps:
        for name in sorted(step.needs - step.sees(defined, book.connections.values())):
            later = names.get(name.removeprefix(SHELL_PREFIX))
            why = f"is saved only later, by step '{later.id}'" if later else "has no parameter, question or save"
            if name in defined:
                why = f"programs are given as ${SHELL_PREFIX}{name}"
            yield Problem(step.line, "variable", f"step '{step.id}' uses ${name}, which {why}")
        defined |= {name for name, by in book.produced() if by is step}
        for name in sorted(step.undo_needs - defined) if isinstance(step, Executed) else ():
            yield Problem(step.line, "variable", f"the undo of step '{step.id}' uses ${name}, which nothing gives")


def _gates(book: Book) -> Iterator[Problem]:
    """A person looks before rows are written to the original."""
    looked = False
    for step in book.steps:
        looked = looked or isinstance(step, PersonStep)
        if not looked and step.writes_to_original:
            yield Problem(step.line, "gate", f"step '{step.id}' writes to the original before anybody was asked")


def _teardown(book: Book) -> Iterator[Problem]:
    opened: BookStep | None = None
    for step in book.steps:
        if isinstance(step, Command):
            opened = step if step.verbs & OPENS else opened
            opened = None if step.verbs & CLOSES else opened
    if opened:
        yield Problem(opened.line, "teardown", f"step '{opened.id}' opens a case that no later step closes")


def _connections(book: Book) -> Iterator[Problem]:
    for step in book.steps:
        if isinstance(step, Sql) and step.on != ORIGINAL and step.on not in book.connections:
            yield Problem(step.line, "connection", f"step '{step.id}' is on={step.on}, which no connection declares")


def _secrets(book: Book) -> Iterator[Problem]:
    redact = Redactor()
    for number, line in enumerate(book.text.splitlines(), 1):
        plain = _PLACE.sub("", VARIABLE.sub("", line))
        if redact(plain) != plain or _LITERAL.search(line):
            yield Problem(number, "secret", "a secret stands in it; take it from the environment or a profile")


def _objectives(book: Book) -> Iterator[Problem]:
    writes = any(isinstance(step, Command) and step.writes_to_original for step in book.steps)
    if writes and book.recovery_time_s is None:
        yield Problem(1, "objective", "it recovers something, and has no objectives: recovery_time in its front matter")


def _commands(book: Book) -> Iterator[Problem]:
    """Commands that rowback does not know would fail at 3 a.m."""
    for step in book.steps:
        if isinstance(step, Command):
            yield from (Problem(step.line, "command", why) for line in step.lines if (why := _misspelt(line)))
        undo = step.effects.undo if isinstance(step, Executed) else ""
        if undo.startswith("rowback ") and (why := _misspelt(undo)):
            yield Problem(step.line, "undo", why)


def _misspelt(line: str) -> str:
    import click

    from recovery.cli import rowback

    try:
        words = [Template(word).safe_substitute() for word in words_of(line)[1:]]
        command: click.Command = rowback
        context = click.Context(command)
        while isinstance(command, click.Group):
            name, words = (words or [""])[0], words[1:]
            subcommand = command.get_command(context, name)
            if subcommand is None:
                return f"rowback knows no '{name}'"
            command, context = subcommand, click.Context(subcommand, parent=context)
        parsed, _, _ = command.make_parser(context).parse_args(list(words))
        _check_values(command, parsed, context)
    except (click.UsageError, ValueError) as error:
        return f"'{line}': {error}"
    return ""


def _check_values(command: click.Command, parsed: Mapping[str, object], context: click.Context) -> None:
    """Values that are known before the run. Raises click.UsageError for a choice or number that is none."""
    import click

    for parameter in command.params:
        if isinstance(parameter.type, click.Choice | click.types.IntParamType | click.types.FloatParamType):
            values = parsed.get(parameter.name or "")
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str) and "$" not in value:
                    parameter.type(value, parameter, context)


def _prose(book: Book) -> Iterator[Problem]:
    """It has to be complete without being run: each section says why before it says what."""
    for section in book.sections:
        if section.steps and not any(isinstance(part, Note) for part in section.parts):
            yield Problem(
                section.steps[0].line, "prose", f"section '{section.title}' has steps and not a word about them"
            )


RULES: tuple[Callable[[Book], Iterator[Problem]], ...] = (
    _undo,
    _one_write,
    _variables,
    _gates,
    _teardown,
    _connections,
    _secrets,
    _objectives,
    _commands,
    _prose,
)


def sarif(problems_by_path: dict[Path, list[Problem]], version: str) -> str:
    """The same for code scanning: SARIF 2.1.0."""
    results = [
        {
            "ruleId": problem.rule,
            "level": "error",
            "message": {"text": problem.text},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": path.as_posix()},
                        "region": {"startLine": problem.line},
                    }
                }
            ],
        }
        for path, problems in problems_by_path.items()
        for problem in problems
    ]
    rules = [{"id": rule} for rule in sorted({result["ruleId"] for result in results}, key=str)]
    driver = {"name": "rowback runbook lint", "version": version, "rules": rules}
    return json.dumps(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{"tool": {"driver": driver}, "results": results}],
        },
        indent=1,
    )
