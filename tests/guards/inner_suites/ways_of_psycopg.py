
import asyncio, os, psycopg, pytest
from psycopg import sql
from guards.guard_session import Refused
DSN = os.environ["TEST_DSN"]

def connect(**options):
    return psycopg.connect(DSN, **options)

BAD = "delete from parent"
SYNC = {
    "execute": lambda c: c.execute(BAD),
    "parameters": lambda c: c.execute("delete from parent where %s", (True,)),
    "composed": lambda c: c.execute(sql.SQL("truncate {}").format(sql.Identifier("parent"))),
    "bytes": lambda c: c.execute(BAD.encode()),
    "executemany": lambda c: c.cursor().executemany("update parent set id = %s", [(1,), (2,)]),
    "named": lambda c: c.cursor("n").execute("with g as (delete from parent returning *) select * from g"),
    "copy": lambda c: list(c.cursor().copy("copy (delete from parent returning *) to stdout").__enter__()),
    "client": lambda c: psycopg.ClientCursor(c).execute(BAD),
    "raw": lambda c: psycopg.RawCursor(c).execute("delete from parent where $1", (True,)),
    "stream": lambda c: list(c.cursor().stream("delete from parent returning *")),
    "prepared": lambda c: c.execute(BAD, prepare=True),
    "several": lambda c: c.execute("select 1; drop table parent cascade"),
    "function": lambda c: c.execute("select wipe()"),
    "block": lambda c: c.execute("do $$ begin execute 'trunc' || 'ate parent cascade'; end $$"),
    "read write": lambda c: c.execute("begin read write"),
    "setting": lambda c: c.execute("set default_transaction_read_only = off"),
}

@pytest.mark.parametrize("how", SYNC)
def test_sync(how):
    with connect() as connection:
        with pytest.raises(Refused):
            SYNC[how](connection)
        connection.rollback()

def test_pipeline():
    with connect() as connection, pytest.raises(Refused):
        with connection.pipeline():
            connection.execute("select 1")
            connection.execute(BAD)

def test_the_connections_own_read_write_leaves_it_to_the_session():
    connection = connect()
    connection.read_only = False
    assert connection.execute("show transaction_read_only").fetchone() == ("on",)
    result = connection.pgconn.exec_(BAD.encode())
    assert b"read-only transaction" in result.error_message
    connection.close()

def test_the_second_row_of_a_client_cursor():
    with connect() as connection, pytest.raises(Refused):
        psycopg.ClientCursor(connection).executemany(
            "select set_config(%s, %s, false)", [("work_mem", "1MB"), ("default_transaction_read_only", "off")])

def test_past_the_driver_the_server_refuses():
    with connect(autocommit=True) as connection:
        result = connection.pgconn.exec_(BAD.encode())
        assert b"read-only transaction" in result.error_message
        connection.execute("select count(*) from parent")

def test_async():
    async def attempt():
        async with await psycopg.AsyncConnection.connect(DSN) as connection:
            with pytest.raises(Refused):
                await connection.execute(BAD)
            async with connection.cursor() as cursor:
                with pytest.raises(Refused):
                    await cursor.execute("truncate parent cascade")
            assert await (await connection.execute("select count(*) from parent")).fetchone() == (3,)
    asyncio.run(attempt())
