
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
