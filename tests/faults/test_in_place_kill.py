"""A load in place is killed, cut off or given up at every step: the indexes are what they were, and the rows are there.

What hangs on the table is compared by pg_dump, the rows by checksums of the test's own.
"""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass
from datetime import datetime

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, Live

pytestmark = pytest.mark.matrix

SIGNAL_AT, STRIKE_AT = "tests.faults.signal_at", "tests.faults.strike_at"
ROWS = 3000
QUERY = "select count(*), sum(hashtextextended(t::text, 0)) from t"
PLACES = [
    ("indexes.dropping", "-"),
    ("indexes.dropped", "-"),
    ("load.intent", "-"),
    ("indexes.built", "-"),
    ("step.done", "load"),
]
INDEXES = {"t_pkey", "by_body", "by_part"}
OWN_LINES = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)  # random in every dump


def definitions(database: Database) -> str:
    program = database.live.lab.engine.tools.bin / "pg_dump"
    done = subprocess.run([program, "-s", database.live.dsn(database.name)], check=True, capture_output=True, text=True)
    return OWN_LINES.sub("", done.stdout)


@dataclass(frozen=True)
class Incident:
    """A truncated table, what it held, and how it is defined."""

    target: datetime
    held: list[tuple[object, ...]]
    definitions: str


@pytest.fixture
def incident(database: Database) -> Incident:
    database.run(
        "create table t (n int primary key, body text)",
        "create index by_body on t using gin (to_tsvector('simple', body))",
        "create index by_part on t (left(body, 4) desc) where n > 10",
        "comment on index by_part is 'hers; \"theirs\"'",
        f"insert into t select g, md5(g::text) from generate_series(1, {ROWS}) g",
    )
    held = database.rows(QUERY)
    target = pass_a_second()
    database.run("truncate t")
    return Incident(target, held, definitions(database))


def in_place(cli: Cli, database: Database, incident: Incident) -> list[str]:
    return restoring(cli, database, incident.target, "--table", "t", "--load", "in-place")


def indexes(database: Database) -> set[str]:
    return {
        name
        for (name,) in database.rows("select indexrelid::regclass::text from pg_index where indrelid = 't'::regclass")
    }


def assert_recovered(cli: Cli, database: Database, incident: Incident) -> None:
    assert database.rows(QUERY) == incident.held
    assert the_case(cli)["outcome"] == "recovered"
    assert_as_it_was(database, incident)


def assert_as_it_was(database: Database, incident: Incident) -> None:
    assert definitions(database) == incident.definitions
    assert database.rows("select nspname from pg_namespace where nspname like 'rowback%'") == []


def killed(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> str:
    process = cli.start("SIGKILL", event, step, *in_place(cli, database, incident), module=SIGNAL_AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    return str(the_case(cli)["case"])


def test_not_interrupted(cli: Cli, database: Database, incident: Incident) -> None:
    ran = cli(*in_place(cli, database, incident))
    assert ran.code == 0, ran.err
    assert (
        "indexes    plain ones of tables loaded whole are dropped before the rows come, and built after them" in ran.err
    )
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
    victim = {"STRIKE_DSN": cluster_dsn(database)}
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
    assert f"rowback close {case}; it builds them and closes the case" in closed.err
    assert copy not in database.live.lab.engine.instances
    assert the_case(cli)["outcome"] == "open"
    assert indexes(database) == {"t_pkey"}
    again = cli("close", case)
    assert (again.code, again.out) == (0, f"case {case}: closed without change\n"), again.err
    assert_as_it_was(database, incident)


def test_whoever_holds_the_table_is_named(
    cli: Cli, database: Database, incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery.workflow.steps.dropped_indexes.DEADLINE_S", 0.5)
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
    swept = cli(*where, "--case", case, "--confirm", database.name)
    kept = f"kept: it holds the statements that build dropped indexes: table {schema}.dropped_indexes"
    assert kept in swept.out
    with database.connect() as person, person.transaction():
        for (statements,) in person.execute(f"select statements from {schema}.dropped_indexes").fetchall():
            for statement in statements.split(";\n"):
                person.execute(statement)
        person.execute(f"drop table {schema}.dropped_indexes")
    assert cli(*where, "--case", case, "--confirm", database.name).code == 0
    assert_as_it_was(database, incident)


def cluster_dsn(database: Database) -> str:
    live: Live = database.live
    return str(live.lab.engine.instances[live.identifier].cluster.dsn(database.name))
