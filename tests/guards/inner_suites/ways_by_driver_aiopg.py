
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
