
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
