"""`rowback bisect`: copies of several times tell when something was lost, and none is left behind."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, Live

pytestmark = pytest.mark.drill

GOOD = "select count(*) = 3 from people"


@pytest.fixture
def lost(database: Database) -> tuple[str, str, str, str]:
    """Rows that were deleted between two moments; a moment long before, those two, and one later."""
    database.run("create table people (id int primary key)", "insert into people select generate_series(1, 3)")
    early = pass_a_second()
    for number in range(2):
        database.run(f"create table t{number} (id int primary key)")
        last_good = pass_a_second()
    database.run("delete from people where id = 2")
    first_bad = pass_a_second()
    database.run("create table later (id int primary key)")
    late = pass_a_second()
    return format_utc(early), format_utc(last_good), format_utc(first_bad), format_utc(late)


def ask(cli: Cli, database: Database, *extra: str) -> Ran:
    return cli("bisect", cli.live.identifier, "--database", database.name, *extra)


def copies(live: Live) -> list[str]:
    return [name for name in live.lab.engine.instances if name.startswith("rowback-")]


def test_the_second_of_the_loss(cli: Cli, database: Database, live: Live, lost: tuple[str, str, str, str]) -> None:
    early, last_good, first_bad, late = lost
    span = ["--from", early, "--to", late, "--precision", "1s", "--good", GOOD]
    asked = ask(cli, database, *span)
    assert asked.code == 21
    number = asked.err.split("up to ")[1].split(" ")[0]
    assert "cost unknown" not in asked.err
    assert f"error[confirmation-missing]: {number} copies would be made, and nobody confirmed that\n" in asked.err
    found = ask(cli, database, *span, "--confirm", number, "--json")
    assert found.code == 0, found.err
    told = json.loads(found.out)
    good, bad = (datetime.fromisoformat(told[name]) for name in ("good_at", "bad_at"))
    assert (bad - good).total_seconds() == 1
    assert good <= datetime.fromisoformat(first_bad)
    assert bad > datetime.fromisoformat(last_good)
    assert f"next: rowback plan {live.identifier} --at {told['good_at']} --database {database.name}" in found.err
    assert copies(live) == []
    cases = json.loads(cli("cases", "--json").out)
    assert 2 <= len(cases) <= int(number)
    assert {case["outcome"] for case in cases} == {"closed without change"}
    assert database.rows(GOOD) == [(False,)], "bisecting puts nothing back"


def test_lost_after_the_end(cli: Cli, database: Database, live: Live, lost: tuple[str, str, str, str]) -> None:
    """The end of the restore window lies minutes back: that nothing is there now says nothing of then."""
    early, last_good, *_ = lost
    span = ["--from", early, "--to", last_good, "--precision", "1h", "--good", GOOD]
    found = ask(cli, database, *span, "--confirm", "3")
    assert found.code == 0, found.err
    assert found.out == f"good at {last_good}, the last time that was asked for: lost after it\n"
    assert f"{last_good}: good\n" in found.err
    assert f"next: rowback plan {live.identifier} --at {last_good} --database {database.name}\n" in found.err
    assert json.loads(ask(cli, database, *span, "--confirm", "3", "--json").out) == {
        "good_at": last_good,
        "bad_at": None,
    }
    assert copies(live) == []


def test_lost_before_the_beginning(cli: Cli, database: Database, live: Live, lost: tuple[str, str, str, str]) -> None:
    _, _, first_bad, _ = lost
    found = ask(cli, database, "--from", first_bad, "--precision", "1h", "--good", GOOD, "--confirm", "3")
    assert found.code == 43
    assert found.out == f"it was lost before {first_bad} already: look further back\n"
    assert f"error[nothing-suspect]: no copy passed --good '{GOOD}'\n" in found.err
    assert copies(live) == []


def test_a_copy_that_cannot_be_asked_is_removed(
    cli: Cli, database: Database, live: Live, lost: tuple[str, str, str, str]
) -> None:
    early, *_ = lost
    found = ask(
        cli,
        database,
        "--from",
        early,
        "--precision",
        "1h",
        "--good",
        "select count(*) > 9 from later",
        "--confirm",
        "3",
    )
    assert found.code == 2
    assert found.err.splitlines()[-3:] == [
        f'error[usage]: at {early}: the query cannot be run on the copy: relation "later" does not exist',
        "  its copy is removed; nothing was written",
        "  help: write one SELECT; the copy is read-only",
    ]
    assert copies(live) == []
    (case,) = json.loads(cli("cases", "--json").out)
    assert case["outcome"] == "closed without change"


@pytest.mark.parametrize(
    ("good", "code", "fact"),
    [
        ("select count(*) = 2 from people", 43, "is true on the original now, so it shows no loss"),
        ("select id from people", 2, "gives 2 rows of 1 columns, not one boolean"),
        ("select null::boolean", 2, "gives 1 rows of 1 columns, not one boolean"),
        ("delete from people returning false", 2, "the query cannot be run on the copy"),
        ("select 1 from gone", 2, 'relation "gone" does not exist'),
    ],
)
def test_a_question_that_tells_nothing_is_refused_before_a_copy_is_made(
    cli: Cli, database: Database, good: str, code: int, fact: str
) -> None:
    database.run("create table people (id int primary key)", "insert into people values (1), (3)")
    found = ask(cli, database, "--from", "2026-11-22T14:20:00Z", "--good", good, "--confirm", "9")
    assert (found.code, found.out) == (code, "")
    assert fact in found.err
    assert cli("cases").out == "no cases yet\n"
    assert database.rows("select count(*) from people") == [(2,)]


def test_times_the_wrong_way_round(cli: Cli, database: Database) -> None:
    late, early = "2026-11-22T14:20:01Z", "2026-11-22T14:20:00Z"
    found = ask(cli, database, "--from", late, "--to", early, "--good", GOOD)
    assert found.code == 2
    assert found.err.startswith(f"error[usage]: there is no time between {late} and {early}\n")
