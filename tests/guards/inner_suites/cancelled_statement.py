
import asyncio, os, asyncpg
async def go():
    found = []
    for n in range(12):
        c = await asyncpg.connect(**KEYWORDS)
        task = asyncio.create_task(c.execute(f"create database cancelled_{n}"))
        for _ in range(n % 5):
            await asyncio.sleep(0.001 * (n % 3))
        task.cancel()
        try:
            await task
        except BaseException:
            pass
        found.append("closed" if c.is_closed() else await c.fetchval("show default_transaction_read_only"))
        c.terminate()
    print(sorted(set(found)))
asyncio.run(go())
