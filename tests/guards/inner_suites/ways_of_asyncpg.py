
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
        assert await connection.fetchval("select '{\"a\": 1}'::jsonb || '{}'::jsonb") == '{"a": 1}'
        assert (await connection.fetchval("select row(1, 'a')::pair"))["a"] == 1
        await connection.close()
    asyncio.run(attempt())
