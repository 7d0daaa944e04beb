
import asyncio, os, sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import create_async_engine
import asyncpg
w = conninfo_to_dict(os.environ["TEST_DSN"])
url = sa.URL.create("postgresql+asyncpg", w["user"], host=w["host"], port=int(w["port"]), database=w["dbname"])
async def go():
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as c:
        await c.execute(sa.text("create database by_sqlalchemy"))
        ends = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'by_sqlalchemy'"
        await c.execute(sa.text(ends))
        await c.execute(sa.text("drop database by_sqlalchemy"))
    await engine.dispose()
    c = await asyncpg.connect(host=w["host"], port=w["port"], user=w["user"], database=w["dbname"])
    await c.fetch("create database by_fetch")
    await (await c.prepare("drop database by_fetch")).fetch()
    print(await c.fetchval("show default_transaction_read_only"))
    await c.close()
asyncio.run(go())
