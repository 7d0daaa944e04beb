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
from tests.guards.inner import Inner, pytest_on, script

PSYCOPG2 = """
import io, os, psycopg2, psycopg2.extras, psycopg2.pool, pytest
from psycopg2 import extensions, extras, sql
from guards.guard_session import Refused
DSN = os.environ["TEST_DSN"]
BAD = "delete from parent"

def run(connection, text, *rest, **options):
    connection.cursor(**options).execute(text, *rest)

class Mine(extensions.connection):
    pass

def waited(connection, text):
    extras.wait_select(connection)
    cursor = connection.cursor()
    cursor.execute(text)
    extras.wait_select(connection)

WAYS = {
    "execute": lambda c: run(c, BAD),
    "parameters": lambda c: run(c, "delete from parent where %s", (True,)),
    "raw sql as a parameter": lambda c: run(c, "select 1 %s", (extensions.AsIs("; " + BAD),)),
    "composed": lambda c: run(c, sql.SQL("truncate {} cascade").format(sql.Identifier("parent"))),
    "bytes": lambda c: run(c, BAD.encode()),
    "executemany": lambda c: c.cursor().executemany("update parent set id = %s", [(1,), (2,)]),
    "executemany, one bad": lambda c: c.cursor().executemany(
        "select 1 %s", [(extensions.AsIs(""),), (extensions.AsIs("; " + BAD),)]),
    "execute_batch": lambda c: extras.execute_batch(c.cursor(), "update parent set id = %s", [(1,), (2,)]),
    "execute_values": lambda c: extras.execute_values(c.cursor(), "insert into parent values %s", [(9,)]),
    "named": lambda c: run(c, "with g as (delete from parent returning *) select * from g", name="n"),
    "dict cursor": lambda c: run(c, BAD, cursor_factory=extras.DictCursor),
    "named tuples": lambda c: run(c, BAD, cursor_factory=extras.NamedTupleCursor),
    "callproc": lambda c: c.cursor().callproc("wipe"),
    "copy_expert": lambda c: c.cursor().copy_expert("copy (delete from parent returning *) to stdout", io.StringIO()),
    "copy_from": lambda c: c.cursor().copy_from(io.StringIO("9"), "parent"),
    "several": lambda c: run(c, "select 1; drop table parent cascade"),
    "function": lambda c: run(c, "select wipe()"),
    "large object": lambda c: c.lobject(0, "w"),
    "prepared transaction": lambda c: c.tpc_commit(c.xid(1, "a", "b")),
    "prepared transaction rolled back": lambda c: c.tpc_rollback(c.xid(1, "a", "b")),
    "function as cursor factory": lambda c: run(c, BAD, cursor_factory=lambda *a, **k: extras.RealDictCursor(*a, **k)),
}

@pytest.mark.parametrize("how", WAYS)
def test_way(how):
    connection = psycopg2.connect(DSN)
    with pytest.raises(Refused):
        WAYS[how](connection)
    connection.rollback()
    cursor = connection.cursor()
    cursor.execute("select count(*) from parent")
    assert cursor.fetchone() == (3,)
    connection.close()

READ_WRITE = {
    "set_session": lambda c: c.set_session(readonly=False),
    "readonly": lambda c: setattr(c, "readonly", False),
    "on and off": lambda c: (setattr(c, "readonly", True), setattr(c, "readonly", None)),
}

@pytest.mark.parametrize("how", READ_WRITE)
def test_read_write_is_left_to_the_session(how):
    connection = psycopg2.connect(DSN)
    READ_WRITE[how](connection)
    cursor = connection.cursor()
    cursor.execute("show transaction_read_only")
    assert cursor.fetchone() == ("on",)
    connection.close()

class Early(extensions.connection):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.cursor().execute("select 1")

def test_a_class_that_asks_while_it_is_made():
    connection = psycopg2.connect(DSN, connection_factory=Early)
    with pytest.raises(Refused):
        run(connection, BAD)
    connection.close()

def test_reloaded():
    import importlib
    importlib.reload(psycopg2)
    connection = psycopg2.connect(DSN)
    with pytest.raises(Refused):
        run(connection, BAD)
    connection.close()

MADE = {
    "class": lambda: psycopg2.connect(DSN, connection_factory=Mine),
    "extras": lambda: psycopg2.connect(DSN, connection_factory=extras.RealDictConnection),
    "function": lambda: psycopg2.connect(DSN, connection_factory=lambda dsn, **o: Mine(dsn, **o)),
    "cursor": lambda: psycopg2.connect(DSN, cursor_factory=extras.RealDictCursor),
    "pool": lambda: psycopg2.pool.SimpleConnectionPool(1, 1, DSN).getconn(),
}

@pytest.mark.parametrize("how", MADE)
def test_made(how):
    connection = MADE[how]()
    assert isinstance(connection, extensions.connection)
    with pytest.raises(Refused):
        run(connection, BAD)
    connection.close()

def test_async():
    connection = psycopg2.connect(DSN, async_=True)
    with pytest.raises(Refused):
        waited(connection, BAD)
    waited(connection, "select count(*) from parent")
    connection.close()

def test_reset_keeps_it_read_only():
    connection = psycopg2.connect(DSN)
    connection.reset()
    bare = extensions.cursor(connection)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        bare.execute(BAD)
    connection.rollback()
    bare.execute("show lock_timeout")
    assert bare.fetchone() == ("5s",)
    assert not connection.autocommit
    connection.close()
"""

ASYNCPG = """
import asyncio, io, os, asyncpg, pytest
from guards.guard_session import Refused
BAD = "delete from parent"
WAY = dict(dsn=os.environ["TEST_DSN"], server_settings={"application_name": "mine"})

class Odd(asyncpg.Connection):
    async def fetchrow(self, *arguments, **named):
        return tuple(await super().fetchrow(*arguments, **named))

async def cursor(c):
    async with c.transaction():
        async for row in c.cursor("delete from parent returning *"):
            pass

async def prepared(c):
    await (await c.prepare(BAD)).fetch()

async def written(c):
    async with c.transaction():
        await c.execute("set transaction read write")

async def none(data):
    pass

WAYS = {
    "execute": lambda c: c.execute(BAD),
    "parameters": lambda c: c.execute("delete from parent where $1", True),
    "keyword": lambda c: c.execute(query=BAD),
    "executemany": lambda c: c.executemany("update parent set id = $1", [(1,), (2,)]),
    "fetch": lambda c: c.fetch("delete from parent returning *"),
    "fetchval": lambda c: c.fetchval("with g as (delete from parent returning *) select count(*) from g"),
    "fetchrow": lambda c: c.fetchrow("delete from parent returning *"),
    "fetchmany": lambda c: c.fetchmany("update parent set id = $1 returning id", [(1,)]),
    "cursor": cursor,
    "prepared": prepared,
    "copy out": lambda c: c.copy_from_query("delete from parent returning *", output=none),
    "copy in": lambda c: c.copy_to_table("parent", source=io.BytesIO(b"9")),
    "records": lambda c: c.copy_records_to_table("parent", records=[(9,)]),
    "several": lambda c: c.execute("select 1; drop table parent cascade"),
    "function": lambda c: c.fetch("select wipe()"),
    "read write": written,
}

@pytest.mark.parametrize("how", WAYS)
def test_way(how):
    async def attempt():
        connection = await asyncpg.connect(**WAY)
        with pytest.raises(Refused):
            await WAYS[how](connection)
        assert await connection.fetchval("select count(*) from parent") == 3
        await connection.close()
    asyncio.run(attempt())

def test_pool_and_what_it_resets():
    async def attempt():
        async with asyncpg.create_pool(**WAY, min_size=1, max_size=1) as pool:
            for _ in range(3):
                with pytest.raises(Refused):
                    await pool.execute(BAD)
                assert await pool.fetchval("show default_transaction_read_only") == "on"
                assert await pool.fetchval("show lock_timeout") == "5s"
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                async with pool.acquire() as connection:
                    await connection._con._protocol.query(BAD, None)
    asyncio.run(attempt())

def test_a_connection_class_that_answers_otherwise():
    async def attempt():
        connection = await asyncpg.connect(**WAY, connection_class=Odd)
        assert await connection.fetchrow("select 1") == (1,)
        with pytest.raises(Refused):
            await connection.execute(BAD)
        await connection.close()
    asyncio.run(attempt())

def test_types_are_still_looked_up():
    async def attempt():
        connection = await asyncpg.connect(**WAY)
        assert await connection.fetchval("select '{\\"a\\": 1}'::jsonb || '{}'::jsonb") == '{"a": 1}'
        assert (await connection.fetchval("select row(1, 'a')::pair"))["a"] == 1
        await connection.close()
    asyncio.run(attempt())
"""


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


SUITE = """
import asyncio, os, pytest
DSN = os.environ["TEST_DSN"]

def by_psycopg2():
    import psycopg2
    with psycopg2.connect(DSN) as connection:
        connection.cursor().execute("truncate table parent cascade")

def by_asyncpg():
    import asyncpg, psycopg
    async def go():
        way = psycopg.conninfo.conninfo_to_dict(DSN)
        connection = await asyncpg.connect(
            host=way["host"], port=way["port"], user=way["user"], database=way["dbname"], password=way.get("password"))
        await connection.execute("truncate table parent cascade")
    asyncio.run(go())

@pytest.fixture
def clean(request):
    globals()[request.config.getoption("-k")]()

def test_by_psycopg2_by_asyncpg(clean):
    pass
"""


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
