"""Ways by which drivers send a statement that destroys, and what becomes of it on an unproven server.

Each way is a function of one table's name, as a user's code would send `delete from` it. `python -m tests.guards.ways`
prints the table of docs/guards.md; tests/guards/test_contract.py runs every way and holds it against this.
"""

from __future__ import annotations

REFUSED = "refused"  # by the guard: nothing was sent
HELD = "by the server"  # it was sent past the guard, and the session is read-only
NOT_COVERED = "not covered"
PYTHON = {
    "psycopg": """
import asyncio, psycopg, psycopg.raw_cursor
from psycopg import sql, pq
def connected(**options):
    return psycopg.connect(DSN, autocommit=True, **options)
def execute(t):
    connected().execute(f"delete from {t}")
def parameters(t):
    connected().execute(f"delete from {t} where %s = 1", (1,))
def composed(t):
    connected().execute(sql.SQL("delete from {}").format(sql.Identifier(t)))
def several_statements(t):
    connected().execute(f"select 1; delete from {t}")
def executemany(t):
    connected().cursor().executemany(f"delete from {t} where 1 = %s", [(1,), (1,)])
def stream(t):
    list(connected().cursor().stream(f"delete from {t} returning 1"))
def prepared_binary(t):
    connected().execute(f"delete from {t} returning 1", prepare=True, binary=True)
def server_cursor(t):
    with psycopg.connect(DSN) as c, c.cursor("named") as cursor:
        cursor.execute(f"with q as (delete from {t} returning 1) select * from q")
def client_cursor(t):
    psycopg.ClientCursor(connected()).execute(f"delete from {t} where %s = 1", (1,))
def raw_cursor(t):
    psycopg.RawCursor(connected()).execute(f"delete from {t} where $1 = 1", (1,))
def pipeline(t):
    c = connected()
    with c.pipeline():
        c.execute(f"delete from {t}")
def copy_in(t):
    with connected().cursor().copy(f"copy {t} from stdin") as copy:
        copy.write_row((1,))
def transaction_block(t):
    with psycopg.connect(DSN) as c, c.transaction():
        c.execute(f"delete from {t}")
def read_write_transaction(t):
    c = psycopg.connect(DSN); c.read_only = False
    c.execute(f"delete from {t}"); c.commit()
def set_read_write(t):
    c = connected(); c.execute("set default_transaction_read_only = off"); c.execute(f"delete from {t}")
def options_in_the_dsn(t):
    c = psycopg.connect(DSN + " options='-c default_transaction_read_only=off'", autocommit=True)
    c.execute(f"delete from {t}")
def asynchronous(t):
    async def go():
        async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as c:
            await c.execute(f"delete from {t}")
    asyncio.run(go())
def other_client_encoding(t):
    c = psycopg.connect(DSN + " client_encoding=SJIS", autocommit=True)
    psycopg.ClientCursor(c).execute("select E'\\u8868'; delete from " + t + "; --'")
def pgconn(t):
    result = connected().pgconn.exec_(f"delete from {t}".encode())
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise RuntimeError(result.error_message.decode())
def libpq_alone(t):
    result = pq.PGconn.connect(DSN.encode()).exec_(f"delete from {t}".encode())
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise RuntimeError(result.error_message.decode())
""",
    "psycopg2": """
import io, psycopg2
from psycopg2 import extensions, extras
def connected(**options):
    c = psycopg2.connect(DSN, **options); c.autocommit = True
    return c
def execute(t):
    connected().cursor().execute(f"delete from {t}")
def parameters(t):
    connected().cursor().execute(f"delete from {t} where %s = 1", (1,))
def raw_sql_as_a_parameter(t):
    connected().cursor().execute("select 1 %s", (extensions.AsIs(f"; delete from {t}"),))
def executemany(t):
    connected().cursor().executemany(f"delete from {t} where 1 = %s", [(1,), (1,)])
def execute_values(t):
    extras.execute_values(connected().cursor(), f"delete from {t} using (values %s) v", [(1,), (1,)])
def execute_batch(t):
    extras.execute_batch(connected().cursor(), f"delete from {t} where 1 = %s", [(1,)])
def copy_from(t):
    connected().cursor().copy_from(io.StringIO("1\\n"), t)
def copy_expert(t):
    connected().cursor().copy_expert(f"copy {t} from stdin", io.StringIO("1\\n"))
def named_cursor(t):
    c = psycopg2.connect(DSN)
    c.cursor("named").execute(f"with q as (delete from {t} returning 1) select * from q")
def dict_cursor(t):
    connected(cursor_factory=extras.DictCursor).cursor().execute(f"delete from {t}")
def logging_connection(t):
    c = connected(connection_factory=extras.LoggingConnection); c.initialize(io.StringIO())
    c.cursor().execute(f"delete from {t}")
def transaction_block(t):
    with psycopg2.connect(DSN) as c, c.cursor() as cursor:
        cursor.execute(f"delete from {t}")
def set_session_read_write_autocommit(t):
    c = psycopg2.connect(DSN); c.set_session(readonly=False, autocommit=True)
    extensions.cursor(c).execute(f"delete from {t}")
def readonly_off_in_autocommit(t):
    c = psycopg2.connect(DSN); c.autocommit = True; c.readonly = False
    extensions.cursor(c).execute(f"delete from {t}")
def readonly_on_and_out_of_autocommit(t):
    c = psycopg2.connect(DSN); c.autocommit = True; c.readonly = True; c.autocommit = False; c.readonly = None
    extensions.cursor(c).execute(f"delete from {t}"); c.commit()
def two_phase(t):
    c = psycopg2.connect(DSN); c.tpc_begin("x"); c.cursor().execute(f"delete from {t}")
def asynchronous(t):
    c = psycopg2.connect(DSN, async_=True); extras.wait_select(c)
    cursor = c.cursor(); cursor.execute(f"delete from {t}"); extras.wait_select(c)
def class_itself(t):
    c = extensions.connection(DSN); c.cursor().execute(f"delete from {t}"); c.commit()
def logging_class_itself(t):
    c = extras.LoggingConnection(DSN); c.initialize(io.StringIO()); c.cursor().execute(f"delete from {t}"); c.commit()
def cursor_class_itself(t):
    extensions.cursor(connected()).execute(f"delete from {t}")
def lower_level(t):
    c = psycopg2._psycopg._connect(DSN); c.cursor().execute(f"delete from {t}"); c.commit()
""",
    "asyncpg": """
import asyncio, asyncpg
from asyncpg import connection as of_asyncpg
def awaited(act):
    def way(t):
        async def go():
            c = await asyncpg.connect(**KEYWORDS)
            try:
                await act(c, t)
            finally:
                await c.close()
        asyncio.run(go())
    way.__name__ = act.__name__
    return way
@awaited
async def execute(c, t):
    await c.execute(f"delete from {t}")
@awaited
async def parameters(c, t):
    await c.execute(f"delete from {t} where $1 = 1", 1)
@awaited
async def fetch(c, t):
    await c.fetch(f"delete from {t} returning 1")
@awaited
async def executemany(c, t):
    await c.executemany(f"delete from {t} where $1 = 1", [(1,)])
@awaited
async def prepare(c, t):
    await (await c.prepare(f"delete from {t} returning 1")).fetch()
@awaited
async def cursor(c, t):
    async with c.transaction():
        async for _ in c.cursor(f"delete from {t} returning 1"):
            pass
@awaited
async def copy_records(c, t):
    await c.copy_records_to_table(t, records=[(1,)])
@awaited
async def copy_to_table(c, t):
    import io
    await c.copy_to_table(t, source=io.BytesIO(b"1\\n"))
@awaited
async def transaction_block(c, t):
    async with c.transaction(readonly=False):
        await c.execute(f"delete from {t}")
@awaited
async def after_reset(c, t):
    await c.reset()
    await c._protocol.query(f"delete from {t}", None)
@awaited
async def protocol(c, t):
    await c._protocol.query(f"delete from {t}", None)
def server_settings(t):
    async def go():
        c = await asyncpg.connect(**KEYWORDS, server_settings={"default_transaction_read_only": "off"})
        await c.execute(f"delete from {t}")
    asyncio.run(go())
def pool(t):
    async def go():
        async with asyncpg.create_pool(**KEYWORDS, min_size=1, max_size=1) as made:
            await made.execute(f"delete from {t}")
    asyncio.run(go())
""",
    "aiopg": """
import asyncio, aiopg
def execute(t):
    async def go():
        async with aiopg.connect(DSN) as c, c.cursor() as cursor:
            await cursor.execute(f"delete from {t}")
    asyncio.run(go())
def pool(t):
    async def go():
        async with aiopg.create_pool(DSN, minsize=1) as made, made.acquire() as c, c.cursor() as cursor:
            await cursor.execute(f"delete from {t}")
    asyncio.run(go())
""",
    "SQLAlchemy": """
import asyncio, sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import create_async_engine
def url(driver):
    return sa.URL.create(f"postgresql+{driver}", KEYWORDS["user"], host=KEYWORDS["host"], port=KEYWORDS["port"],
                         database=KEYWORDS["database"])
def over(driver):
    def way(t):
        with sa.create_engine(url(driver)).begin() as c:
            c.execute(sa.text(f"delete from {t}"))
    way.__name__ = f"text_over_{driver}"
    return way
text_over_psycopg, text_over_psycopg2 = over("psycopg"), over("psycopg2")
def drop_all(t):
    metadata = sa.MetaData(); sa.Table(t, metadata)
    metadata.drop_all(sa.create_engine(url("psycopg")))
def raw_connection(t):
    c = sa.create_engine(url("psycopg2")).raw_connection(); c.cursor().execute(f"delete from {t}"); c.commit()
def autocommit_read_only_and_back(t):
    engine = sa.create_engine(url("psycopg2"), pool_size=1, max_overflow=0)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT", postgresql_readonly=True) as c:
        c.execute(sa.text("select 1"))
    from psycopg2 import extensions
    raw = engine.raw_connection().driver_connection
    extensions.cursor(raw).execute(f"delete from {t}"); raw.commit()
def asynchronous(t):
    async def go():
        async with create_async_engine(url("asyncpg")).begin() as c:
            await c.execute(sa.text(f"delete from {t}"))
    asyncio.run(go())
""",
}
# What is not refused by the guard; every other way is.
NOT_REFUSED = {
    ("psycopg", "pgconn"): HELD,
    ("psycopg", "libpq_alone"): NOT_COVERED,
    ("psycopg2", "set_session_read_write_autocommit"): HELD,
    ("psycopg2", "readonly_off_in_autocommit"): HELD,
    ("psycopg2", "readonly_on_and_out_of_autocommit"): HELD,
    ("psycopg2", "cursor_class_itself"): HELD,
    ("psycopg2", "lower_level"): NOT_COVERED,
    ("psycopg2", "logging_class_itself"): NOT_COVERED,
    ("asyncpg", "after_reset"): HELD,
    ("asyncpg", "protocol"): HELD,
    ("SQLAlchemy", "autocommit_read_only_and_back"): HELD,
}
# Ways that pass by the drivers; each has a test of its own (tests/guards/test_around.py).
AROUND = (
    ("a Python child of a test", "refused, also with an environment of its own"),
    (
        "a Python child in isolated mode (`-I`, `-E`, `-S`)",
        "not covered; under `rowback guard run` noticed, exit code 21",
    ),
    ("psql, dropdb and other programs", "not covered; under `rowback guard run` named"),
    ("pg8000, psqlpy, connectorx, adbc, …", "named when they are imported; in `ci` the import is refused"),
    ("a psycopg2 connection older than the guard", "by the server; named"),
    ("a psycopg connection older than the guard", "refused"),
    (
        "a plugin given by `-p` that connects while it is imported",
        "refused with `-p rowback` before it; else not covered, and named",
    ),
    ("a view over a function, an operator, a cast", "by the server; behind a pooler not covered"),
)


def names(driver: str) -> list[str]:
    """The ways of a driver, in the order of the text."""
    found = []
    for line in PYTHON[driver].splitlines():
        if line.startswith(("def ", "async def ")) and line.endswith(("(t):", "(c, t):")):
            found.append(line.partition("def ")[2].partition("(")[0])
        elif line.startswith("text_over_"):
            found += [name.strip() for name in line.partition(" = ")[0].split(",")]
    return found


def verdict(driver: str, way: str) -> str:
    """What becomes of that way on an unproven server."""
    return NOT_REFUSED.get((driver, way), REFUSED)


def rendered() -> str:
    """The table of docs/guards.md."""
    lines = [
        "| driver | refused before it is sent | held by the read-only session | not covered |",
        "|---|---|---|---|",
    ]
    for driver in PYTHON:
        cells = []
        for outcome in (REFUSED, HELD, NOT_COVERED):
            cells.append(", ".join(way.replace("_", " ") for way in names(driver) if verdict(driver, way) == outcome))
        lines.append(f"| {driver} | " + " | ".join(cell or "–" for cell in cells) + " |")
    lines += ["", "| around the drivers | |", "|---|---|", *(f"| {what} | {told} |" for what, told in AROUND)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(rendered())  # noqa: T201
