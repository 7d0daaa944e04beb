"""What every kind of step keeps. Kinds come from the registry; an example of each stands here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recovery.config import Profile
from recovery.errors import RowbackError
from recovery.redaction import Redactor
from runbooks.book.document import Book
from runbooks.book.lint import lint
from runbooks.book.parse_book import parse
from runbooks.execution.preview_book import Preview, preview
from runbooks.execution.step_answers import StepLines
from runbooks.steps import child_program
from runbooks.steps.book_step import Executed, PersonStep
from runbooks.steps.problems import Problem
from runbooks.steps.step_kinds import KINDS
from runbooks.steps.surroundings import CutOff, StepError, Surroundings
from tests.fix_lab import Database

FRONT = """---
title: T
purpose: P
when: W
parameters:
  name: {type: text}
connections:
  db: STEP_KINDS_DSN
---
# T
"""


@dataclass(frozen=True)
class Example:
    """One kind that runs something.

    `reads`, `writes`: bodies of a step that only reads and of one that does not; `saves`: what the first prints, and is
    saved of it. `uses`: a body with the variable NAME. `slow`: one that takes longer than a second. `more`: attributes
    that it needs beside the common ones.
    """

    reads: str
    saves: str
    writes: str
    uses: str
    slow: str
    more: str = ""
    reads_more: str = ""


EXECUTED = {
    "rowback": Example(
        reads="rowback runbook show truncated-tables",
        saves="",
        writes="rowback close no-such-case",
        uses="rowback runbook show $NAME",
        slow="rowback wait no-such-instance",
    ),
    "sql": Example(
        reads="select 40 + 2",
        saves="42",
        writes="insert into marks values (1)",
        uses="select :'name'",
        slow="select pg_sleep(30)",
        more="on=db",
    ),
    "sh": Example(
        reads="echo $((40 + 2))",
        saves="42",
        writes="touch written",
        uses='echo "$RUNBOOK_NAME"',
        slow="sleep 30",
        reads_more="reads",
    ),
}
PERSONS = {"ask": "When was it?", "approve": "Go on?"}


def block(kind: str, body: str, *attributes: str) -> str:
    return f"\nWords.\n\n```{kind} {' '.join(attributes)}\n{body}\n```\n"


def book_of(*blocks: str) -> tuple[Book, list[Problem]]:
    return parse("b", FRONT + "".join(blocks))


def step_of(kind: str, body: str, *attributes: str) -> Executed:
    more = EXECUTED[kind].more
    book, problems = book_of(block(kind, body, "id=it", "timeout=30s", 'undo="none: x"', more, *attributes))
    assert problems == []
    (step,) = book.steps
    assert isinstance(step, Executed)
    return step


@pytest.fixture
def around(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    database.run("create table marks (n int)")
    monkeypatch.setenv("STEP_KINDS_DSN", database.live.dsn(database.name))
    monkeypatch.setenv("ROWBACK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    values = {"NAME": "truncated-tables", "RUN_DIR": str(tmp_path)}
    return Surroundings(values, tmp_path / "logs", Redactor({"tops3cret"}), Profile(), {"db": "STEP_KINDS_DSN"})


def traces(database: Database, directory: Path) -> object:
    return database.rows("select count(*) from marks"), (directory / "written").exists()


def test_every_kind_has_an_example_here() -> None:
    assert KINDS.keys() == EXECUTED.keys() | PERSONS.keys()
    assert {word: kind.kind for word, kind in KINDS.items()} == {word: word for word in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_does_not_know_is_reported(kind: str) -> None:
    body = PERSONS.get(kind) or EXECUTED[kind].reads
    _, problems = book_of(block(kind, body, "id=it", "timeout=1s", "colour=red"))
    assert f"a {kind} step knows no 'colour'" in [problem.text for problem in problems]
    _, problems = book_of(block(kind, body, "id=Not_Lower"))
    assert f"this {kind} step has no id=name in lower case" in [problem.text for problem in problems]
    _, problems = book_of(block(kind, body, 'id="half'))
    assert [problem.rule for problem in problems] == ["info-string", "empty"]


@pytest.mark.parametrize("kind", PERSONS)
def test_a_person_s_step_is_a_question(kind: str) -> None:
    book, problems = book_of(block(kind, f"  {PERSONS[kind]}  ", "id=it"))
    assert problems == []
    (step,) = book.steps
    assert isinstance(step, PersonStep)
    assert (step.kind, step.id, step.question) == (kind, "it", PERSONS[kind])


@pytest.mark.parametrize("kind", EXECUTED)
def test_what_has_no_time_limit_or_an_odd_undo_is_reported(kind: str) -> None:
    example = EXECUTED[kind]
    _, problems = book_of(block(kind, example.writes, "id=it", 'undo="rm -rf"', "expect=(", "save=Upper", example.more))
    assert {"timeout", "undo", "expect", "save"} <= {problem.rule for problem in problems}


@pytest.mark.parametrize("kind", EXECUTED)
def test_the_variables_of_a_step_are_looked_for_before_it_runs(kind: str, tmp_path: Path) -> None:
    example = EXECUTED[kind]
    path = tmp_path / "b.md"
    known = block(kind, example.uses, "id=it", "timeout=9s", 'undo="none: x"', example.more)
    path.write_text(FRONT + known)
    assert [problem for problem in lint(path) if problem.rule == "variable"] == []
    unknown = known.replace("NAME", "OTHER").replace("'name'", "'other'")
    path.write_text(FRONT + unknown)
    (problem,) = [problem for problem in lint(path) if problem.rule == "variable"]
    assert "OTHER, which has no parameter, question or save" in problem.text


@pytest.mark.parametrize("kind", EXECUTED)
def test_a_preview_executes_what_reads_and_describes_what_writes(
    kind: str, around: Surroundings, database: Database, tmp_path: Path
) -> None:
    example = EXECUTED[kind]
    common = ("timeout=30s", 'undo="none: x"', example.more)
    book, problems = book_of(
        block(kind, example.reads, "id=look", *common, example.reads_more),
        block(kind, example.writes, "id=act", *common),
    )
    assert problems == []
    before = traces(database, tmp_path)
    what = Preview(around, StepLines(), ["look"], dict(around.values))
    lines = preview(book, what)
    assert lines[0].startswith("look: was run")
    assert any(line.startswith("act: would run") for line in lines)
    assert traces(database, tmp_path) == before
    assert what.withheld == 1
    assert sum(what.ran.values()) == 1


@pytest.mark.parametrize("kind", EXECUTED)
def test_a_step_saves_what_it_prints_and_keeps_its_output(kind: str, around: Surroundings) -> None:
    example = EXECUTED[kind]
    step = step_of(kind, example.reads, "save=answer", example.reads_more)
    assert step.gives == ("ANSWER",)
    (saved,) = step.execute(around, 1).items()
    kept = around.output("it", 1)
    assert saved[0] == "ANSWER"
    assert saved[1] == kept.read_text().strip()
    assert saved[1]
    if example.saves:
        assert saved[1] == example.saves
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", EXECUTED)
def test_a_step_whose_output_is_not_what_was_expected_fails(kind: str, around: Surroundings) -> None:
    step = step_of(kind, EXECUTED[kind].reads, "expect=never-in-it", EXECUTED[kind].reads_more)
    with pytest.raises(StepError, match="^its output does not show what was expected: never-in-it$"):
        step.execute(around, 1)


@pytest.mark.parametrize("kind", ["sql", "sh"])
def test_a_step_saves_no_secret(kind: str, around: Surroundings) -> None:
    body = {"sql": "select 'tops3cret'", "sh": "echo tops3cret"}[kind]
    step = step_of(kind, body, "save=answer", EXECUTED[kind].reads_more)
    with pytest.raises(StepError, match="^what it would save as ANSWER holds a secret, and runs keep no secrets$"):
        step.execute(around, 1)
    assert "tops3cret" not in around.output("it", 1).read_text()


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("sql", RowbackError, r"^error\[usage\]: the statement failed: canceling statement due to statement timeout\n"),
        ("sh", CutOff, "^it was not done within 0 s and was ended$"),
    ],
)
def test_a_step_ends_with_its_time(
    kind: str, error: type[Exception], words: str, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_program, "GRACE_S", 0.5)  # whoever started us may have had SIGINT ignored
    step = step_of(kind, EXECUTED[kind].slow, EXECUTED[kind].reads_more)
    hurried = replace(step, effects=replace(step.effects, timeout_s=0.3))
    with pytest.raises(error, match=words):
        hurried.execute(around, 1)


@pytest.mark.parametrize("kind", EXECUTED)
def test_a_variable_without_a_value_runs_nothing(kind: str, around: Surroundings) -> None:
    step = step_of(kind, EXECUTED[kind].uses)
    with pytest.raises(StepError):
        step.execute(replace(around, values={}), 1)


@pytest.mark.parametrize("kind", EXECUTED)
def test_a_value_stays_a_value(kind: str, around: Surroundings, database: Database, tmp_path: Path) -> None:
    """Quotes, blanks, statements and scripts in it are text."""
    evil = "x'; insert into marks values (1); --$(touch written) \"`touch written`"
    step = step_of(kind, EXECUTED[kind].uses)
    before = traces(database, tmp_path)
    surroundings = replace(around, values={**around.values, "NAME": evil})
    if kind == "rowback":
        with pytest.raises(StepError, match="there is no runbook"):
            step.execute(surroundings, 1)
    else:
        step.execute(surroundings, 1)
        assert around.output("it", 1).read_text().rstrip("\n") == evil
    assert traces(database, tmp_path) == before


@pytest.mark.parametrize("kind", EXECUTED)
def test_after_a_cut_what_reads_is_done_again_and_nothing_else_is_guessed(kind: str, around: Surroundings) -> None:
    reading = step_of(kind, EXECUTED[kind].reads, EXECUTED[kind].reads_more)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    assert reading.already_happened(reading.command_lines(around.values), since, "run/it") is None
    writing = step_of(kind, EXECUTED[kind].writes)
    lines = writing.command_lines(around.values)
    if kind == "rowback":  # its case knows: there is none, so it did not happen
        assert writing.already_happened(lines, since, "run/it") is None
    else:
        with pytest.raises(LookupError, match="^it began, it writes, and whether it did cannot be told$"):
            writing.already_happened(lines, since, "run/it")


def test_an_undo_s_variables_are_known() -> None:
    book, _ = book_of(block("sql", "delete from t", "id=it", "timeout=1s", "undo='rowback undo $CASE'"))
    (step,) = book.steps
    assert isinstance(step, Executed)
    assert step.undo_needs == {"CASE"}


def test_what_a_step_gives_is_known_to_the_book() -> None:
    book, problems = book_of(
        block("ask", "Which?", "id=which", "name=thing"),
        block("sh", "echo 1", "id=it", "timeout=1s", "reads", "save=one", "save=two=a.b"),
    )
    assert problems == []
    given = [(name, step.id) for name, step in book.produced() if step]
    assert given == [("THING", "which"), ("ONE", "it"), ("TWO", "it")]
