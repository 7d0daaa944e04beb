"""A load in place is killed, cut off or given up at every step: the indexes are what they were, and the rows are there.

What hangs on the table is compared by pg_dump, the rows by checksums of the test's own.
"""

from __future__ import annotations

import pytest

from tests.faults.in_place import (
    INDEXES,
    ROWS,
    SIGNAL_AT,
    STRIKE_AT,
    Incident,
    assert_as_it_was,
    assert_recovered,
    in_place,
    incident,
    indexes,
    killed,
)
from tests.fix_cli import Cli, the_case
from tests.fix_lab import Database

__all__ = ["incident"]
pytestmark = pytest.mark.matrix

PLACES = [
    ("indexes.dropping", "-"),
    ("indexes.dropped", "-"),
    ("load.intent", "-"),
    ("indexes.built", "-"),
    ("step.done", "load"),
]


def test_not_interrupted(cli: Cli, database: Database, incident: Incident) -> None:
    ran = cli(*in_place(cli, database, incident))
    assert ran.code == 0, ran.err
    dropped = "load       non-unique indexes are dropped before the rows come, and built after them"
    assert dropped in ran.err
    assert "1 table to be loaded whole without 2 indexes, nothing else differs" in ran.err
    assert f"{ROWS:,} rows, 2 indexes built, tables locked for" in ran.err
    assert_recovered(cli, database, incident)


@pytest.mark.parametrize(("event", "step"), PLACES)
def test_killed_and_resumed(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> None:
    case = killed(cli, database, incident, event, step)
    if event == "indexes.dropped":
        assert indexes(database) == {"t_pkey"}, "it was killed while they were away"
        status = cli("status", case)
        assert '2 indexes of public.t ("by_body", "by_part") may still have to be built' in status.out + status.err
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert_recovered(cli, database, incident)


@pytest.mark.parametrize(("event", "step"), PLACES[:3])
def test_killed_and_given_up(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> None:
    case = killed(cli, database, incident, event, step)
    database.run("insert into t values (1, 'written by others meanwhile')")
    closed = cli("close", case)
    assert (closed.code, closed.out) == (0, f"case {case}: closed without change\n"), closed.err
    assert_as_it_was(database, incident)
    assert database.rows("select * from t") == [(1, "written by others meanwhile")]


@pytest.mark.parametrize(("event", "step"), PLACES[1:3])
def test_interrupted_they_are_there_at_once(
    cli: Cli, database: Database, incident: Incident, event: str, step: str
) -> None:
    process = cli.start("SIGINT", event, step, *in_place(cli, database, incident), module=SIGNAL_AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert indexes(database) == INDEXES
    assert_as_it_was(database, incident)
    resumed = cli("resume", the_case(cli)["case"])
    assert resumed.code == 0, resumed.err
    assert_recovered(cli, database, incident)


@pytest.mark.parametrize(("event", "step"), PLACES[1:3])
def test_cut_off_they_are_there_at_once(
    cli: Cli, database: Database, incident: Incident, event: str, step: str
) -> None:
    """Every session of rowback is terminated on the server."""
    victim = {"STRIKE_DSN": database.superuser_dsn}
    process = cli.start(event, step, *in_place(cli, database, incident), module=STRIKE_AT, **victim)
    _, err = process.communicate(timeout=120)
    assert process.returncode not in {0, 1}, err
    assert indexes(database) == INDEXES, err
    assert_as_it_was(database, incident)
    resumed = cli("resume", the_case(cli)["case"])
    assert resumed.code == 0, resumed.err
    assert_recovered(cli, database, incident)


def test_an_original_that_is_away_keeps_the_case_open_and_the_copy_goes(
    cli: Cli, database: Database, incident: Incident
) -> None:
    case = killed(cli, database, incident, "indexes.dropped", "-")
    copy = the_case(cli)["copy_instance"]
    closed = cli("close", case, PGPASSWORD="wrong")
    assert closed.code != 0
    assert '  2 indexes of public.t ("by_body", "by_part") still to be built\n' in closed.err
    assert "  the copy is removed, the case stays open\n" in closed.err
    assert f"rowback close {case}; it does that and closes the case" in closed.err
    assert copy not in database.live.lab.engine.instances
    assert the_case(cli)["outcome"] == "open"
    assert indexes(database) == {"t_pkey"}
    again = cli("close", case)
    assert (again.code, again.out) == (0, f"case {case}: closed without change\n"), again.err
    assert_as_it_was(database, incident)


def test_whoever_holds_the_table_is_named(
    cli: Cli, database: Database, incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery.workflow.steps.unbuilt_indexes.DEADLINE_S", 0.5)
    case = killed(cli, database, incident, "indexes.dropped", "-")
    with database.connect() as other, other.transaction():
        other.execute("insert into t values (1, 'mine')")
        ran = cli("resume", case)
        assert 'error[lock-not-granted]: 2 indexes of public.t ("by_body", "by_part") cannot be built' in ran.err
        assert f"select pg_terminate_backend({other.info.backend_pid})" in ran.err
        assert indexes(database) == {"t_pkey"}
        other.execute("delete from t")
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert_recovered(cli, database, incident)


def test_cleanup_keeps_their_statements(cli: Cli, database: Database, incident: Incident) -> None:
    """The case's directory is lost with its machine: what is in the database builds them, and is not swept away."""
    case = killed(cli, database, incident, "indexes.dropped", "-")
    schema = f"rowback_case_{case.replace('-', '_')}"
    (cli.home / "cases" / case).rename(cli.home / "lost")
    where = ("cleanup", database.live.identifier, "--database", database.name)
    query = f"select obj_description('{schema}'::regnamespace)"
    swept = cli(*where, "--case", case, "--confirm", database.name)
    assert f"kept: its comment is what builds dropped indexes: {query}" in swept.out
    planned = cli("plan", *in_place(cli, database, incident)[1:-6])
    told = f"case {case} dropped indexes that are still to be built: rowback close {case}, or by hand: {query}"
    assert told in planned.out + planned.err
    with database.connect() as person, person.transaction():
        for (statements,) in person.execute(f"select value from json_each_text(({query})::json)").fetchall():
            for statement in statements.split(";\n"):
                person.execute(statement)
        person.execute(f"comment on schema {schema} is null")
    assert cli(*where, "--case", case, "--confirm", database.name).code == 0
    assert_as_it_was(database, incident)
