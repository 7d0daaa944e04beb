"""psycopg2 and asyncpg: every way in which a statement leaves them is looked at; proven databases are left alone."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.fix_lab import Database
from tests.fix_plain import Plain
from tests.guards.fix_drivers import FURNITURE, as_url, reached
from tests.guards.fix_suite import furnish, rows
from tests.guards.forwarder import forwarded
from tests.guards.inner import Inner, inner_suite, pytest_on, script

PSYCOPG2 = inner_suite("ways_of_psycopg2")

ASYNCPG = inner_suite("ways_of_asyncpg")


def through(plain: Plain, name: str, suite: str, home: Path, *arguments: str, url: bool = False) -> Inner:
    """The suite on a database of the plain cluster, reached through a forwarder: nothing proves it."""
    plain.make(name, *(statement.format(name) for statement in FURNITURE))
    with forwarded(("127.0.0.1", plain.port)) as port:
        dsn = plain.dsn(name, port=port)
        return pytest_on(home, suite, as_url(dsn) if url else dsn, *arguments)


def test_every_way_through_psycopg2(plain: Plain, tmp_path: Path) -> None:
    found = through(plain, "two", PSYCOPG2, tmp_path)
    assert "33 passed" in found.out, found.out
    assert found.code == 1, "refusals fail the run, caught or not"
    assert "rowback guard: 29 refused" in found.out
    assert reached(plain, "two") == ["delete from parent"], "only the one that went past us, and the server refused it"
    with psycopg.connect(plain.dsn("two")) as server:
        assert server.execute("select count(*) from parent").fetchone() == (3,)


def test_every_way_through_asyncpg(plain: Plain, tmp_path: Path) -> None:
    found = through(plain, "apg", ASYNCPG, tmp_path, url=True)
    assert "19 passed" in found.out, found.out
    assert found.code == 1
    assert "rowback guard: 20 refused" in found.out
    assert reached(plain, "apg") == ["delete from parent"], "only the one that went past us, and the server refused it"
    with psycopg.connect(plain.dsn("apg")) as server:
        assert server.execute("select count(*) from parent").fetchone() == (3,)


SUITE = inner_suite("two_drivers")


@pytest.mark.parametrize("driver", ["by_psycopg2", "by_asyncpg"])
def test_the_whole_refusal_is_told_of_the_other_drivers_too(database: Database, tmp_path: Path, driver: str) -> None:
    furnish(database)
    dsn, port = database.live.dsn(database.name), database.live.port
    found = pytest_on(tmp_path, SUITE, dsn, "-k", driver)
    assert (found.code, rows(database)) == (1, (3, 1)), found.out
    identifier, oid, made, started = database.rows(
        "select system_identifier::text, (select oid from pg_database where datname = current_database()),"
        " to_char(to_timestamp(system_identifier >> 32) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
        " extract(epoch from pg_postmaster_start_time())::text from pg_control_system()"
    )[0]
    asked_for = f"host=127.0.0.1 port={port} dbname={database.name} user=postgres"
    line = 8 if driver == "by_psycopg2" else 16
    where = "by_psycopg2" if driver == "by_psycopg2" else "go"
    told = [
        f"refused[not-disposable]: TRUNCATE parent CASCADE was not sent to '{database.name}' on 127.0.0.1:{port}",
        "  in test_inner.py::test_by_psycopg2_by_asyncpg (setup), fixture 'clean'",
        f"  at test_inner.py:{line} in {where}",
        f"  asked for {asked_for}",
        f"  it is PostgreSQL 17, system identifier {identifier}, database oid {oid}, made {made}",
        "  it is managed: Amazon RDS",
        "  its WAL is archived: it is meant to be restorable",
        "  no mark of its owner",
        "  it would have hit 2 tables, about 4 rows: parent, child",
        "  no statement was sent; the session is read-only",
        "  help: use a throw-away database; do not work around this. If this one may be destroyed, its owner says so:"
        f" rowback guard mark --dsn '{asked_for}' --reason … --confirm '{database.name}'",
        "        or, for this user and a while: rowback guard allow"
        f" --target {identifier}/{oid}/{started} --reason … --for 30m",
    ]
    assert "\n".join(told) in found.out, found.out


@pytest.mark.parametrize("driver", ["by_psycopg2", "by_asyncpg"])
def test_a_proven_database_is_left_alone_by_the_other_drivers_too(plain: Plain, tmp_path: Path, driver: str) -> None:
    name = f"proven_{driver}"
    found = pytest_on(
        tmp_path, SUITE, plain.make(name, *(text.format(name) for text in FURNITURE)), "-k", driver, CI=""
    )
    assert found.code == 0, found.out
    with psycopg.connect(plain.dsn(name)) as server:
        assert server.execute("select count(*) from parent").fetchone() == (0,)


KINDS = """
import os, psycopg2
from psycopg2 import extras
for factory in (extras.DictConnection, extras.RealDictConnection, extras.NamedTupleConnection):
    connection = psycopg2.connect(os.environ["TEST_DSN"], connection_factory=factory)
    cursor = connection.cursor()
    cursor.execute("create temp table t (n int)")
    cursor.execute("select 1 as one")
    print(type(cursor.fetchone()).__name__)
    named = connection.cursor("n", withhold=True)
    named.execute("select 2 as two")
    print(type(named.fetchone()).__name__, named.withhold)
"""


@pytest.mark.parametrize("proven", [True, False])
def test_connections_keep_their_kind(plain: Plain, tmp_path: Path, proven: bool) -> None:
    plain.make(name := f"kinds_{proven}".lower())
    text = KINDS if proven else KINDS.replace('    cursor.execute("create temp table t (n int)")\n', "")
    with forwarded(("127.0.0.1", plain.port)) as tunnel:
        found = script(tmp_path, text, plain.dsn(name, port=plain.port if proven else tunnel))
    assert found.out.splitlines() == [
        "DictRow",
        "DictRow True",
        "RealDictRow",
        "RealDictRow True",
        "Record",
        "Record True",
    ]


def test_drivers_are_guarded_when_they_come_and_not_loaded_before(plain: Plain, tmp_path: Path) -> None:
    found = script(
        tmp_path,
        "import sys, os\n"
        "print(sorted({'psycopg', 'psycopg2', 'asyncpg', 'sqlalchemy', 'unittest'} & set(sys.modules)))\n"
        "from psycopg2 import connect\n"
        "import psycopg2\n"
        "print(hasattr(psycopg2._connect, '_rowback_guarded'), type(connect(os.environ['TEST_DSN'])).__mro__[1])",
        plain.dsn(),
    )
    assert found.out.splitlines() == ["[]", "True <class 'guards.drivers.psycopg2_._GuardedConnection'>"]


def test_a_database_that_was_proven_is_known_again_without_a_question(plain: Plain, tmp_path: Path) -> None:
    dsn = plain.make("again", "alter database again set log_statement = 'all'")
    found = script(
        tmp_path,
        "import os, psycopg, psycopg2\n"
        "for connect in (psycopg.connect, psycopg.connect, psycopg2.connect):\n"
        "    connection = connect(os.environ['TEST_DSN'])\n"
        "    connection.cursor().execute('create table if not exists t ()')\n"
        "    connection.commit()\n",
        dsn,
    )
    assert (found.code, found.out) == (0, "")
    asked = [text for text in plain.statements_in("again") if "pg_control_system" in text]
    assert len(asked) == 1
