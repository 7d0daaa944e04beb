"""A large table is loaded whole while its plain indexes are away: killed anywhere, they come back."""

from __future__ import annotations

import os
import signal
from datetime import datetime

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, wait_until
from tests.fix_schema import schema_of

pytestmark = pytest.mark.matrix

ROWS = 120_000
AT = "tests.faults.signal_at"
QUERY = "select count(*), sum(hashtextextended(t::text, 0)) from large t"
INDEXES = "select count(*) from pg_indexes where tablename = 'large'"
BOUNDARIES = ["load.indexes", "load.intent", "load.indexes_back"]


class Incident:
    """A large table with three plain indexes, emptied; what it held, and how it was defined."""

    def __init__(self, database: Database) -> None:
        database.run(
            "create table owners (id int primary key)",
            "insert into owners select generate_series(1, 50)",
            "create table large (n int primary key, owner int references owners, body text)",
            f"insert into large select g, 1 + g % 50, md5(g::text) from generate_series(1, {ROWS}) g",
            "create index on large (owner)",
            "create index by_body on large (body)",
            "create index on large (lower(body)) where owner = 3",
        )
        self.held, self.schema = database.rows(QUERY), schema_of(database)
        self.target: datetime = pass_a_second()
        database.run("truncate large")

    def is_undone(self, cli: Cli, database: Database) -> None:
        """Rows and definitions are as before, by our own sums and pg_dump's own words."""
        assert database.rows(QUERY) == self.held
        self.is_defined(database)
        assert the_case(cli)["outcome"] == "recovered"

    def is_defined(self, database: Database) -> None:
        assert schema_of(database) == self.schema
        assert database.rows("select count(*) from pg_index where not indisvalid") == [(0,)]


@pytest.fixture
def incident(database: Database) -> Incident:
    return Incident(database)


def test_a_large_table_comes_back_with_its_indexes(cli: Cli, database: Database, incident: Incident) -> None:
    ran = cli(*restoring(cli, database, incident.target, "--table", "large"))
    assert ran.code == 0, ran.err
    assert "3 plain indexes dropped, to be built from all rows at once" in ran.err
    incident.is_undone(cli, database)


@pytest.mark.parametrize("end", ["resume", "close"])
@pytest.mark.parametrize("event", BOUNDARIES)
def test_killed_with_indexes_away(cli: Cli, database: Database, incident: Incident, event: str, end: str) -> None:
    arguments = restoring(cli, database, incident.target, "--table", "large")
    process = cli.start("SIGKILL", event, "-", *arguments, module=AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    case = the_case(cli)["case"]
    ended = cli(end, case)
    assert ended.code == 0, ended.err
    incident.is_defined(database)
    if end == "resume":
        incident.is_undone(cli, database)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("end", ["resume", "close"])
def test_stopped_while_it_waits_for_a_writer(
    cli: Cli, database: Database, incident: Incident, number: signal.Signals, end: str
) -> None:
    with database.connect() as writer:
        writer.execute("begin")
        process = cli.start(*restoring(cli, database, incident.target, "--table", "large"))
        wait_until(lambda: database.rows(INDEXES) == [(1,)] or process.poll() is not None, "indexes are away", 60)
        writer.execute("lock table large in row exclusive mode")
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=120)
        writer.execute("rollback")
    case = the_case(cli)
    if case["outcome"] == "open":
        told = cli("status", case["case"]).out if number == signal.SIGKILL else err
        assert database.rows(INDEXES) == [(4,)] or "indexes may be away until it is resumed or closed: public." in told
        ended = cli(end, case["case"])
        assert ended.code == 0, ended.err
    incident.is_defined(database)


def test_a_load_that_is_refused_brings_them_back(cli: Cli, database: Database, incident: Incident) -> None:
    """A check that came after the comparison: nothing is written, and nothing is missing."""
    asked = restoring(cli, database, incident.target, "--table", "large", "--all-or-nothing")
    case = cli("open", *asked[1 : asked.index("--confirm")], "--table", "large", "--all-or-nothing").out.strip()
    digest = cli("diff", case, "--digest").out.strip()
    database.run("alter table large add check (n <> 500)")
    incident.schema = schema_of(database)
    ran = cli("apply", case, digest, "--confirm", database.name)
    assert ran.code == 54, ran.err
    assert "3 plain indexes dropped" in ran.err
    incident.is_defined(database)
    assert database.rows("select count(*) from large") == [(0,)]


def test_readers_and_writers_of_other_tables_never_wait(cli: Cli, database: Database, incident: Incident) -> None:
    """A reader whose transaction stays open keeps the indexes in place: the rows come back all the same."""
    with database.connect() as reader, reader.transaction():
        reader.execute("select count(*) from large")
        ran = cli(*restoring(cli, database, incident.target, "--table", "large"))
        assert ran.code == 0, ran.err
        assert "plain indexes dropped" not in ran.err
    incident.is_undone(cli, database)
