
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
    await c.copy_to_table(t, source=io.BytesIO(b"1\n"))
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
