
import asyncio, asyncpg, os
async def go():
    c = await asyncpg.connect(**KEYWORDS)
    logged = []
    async def log(record):
        other = await asyncpg.connect(**KEYWORDS)
        try:
            await other.execute("delete from orders")
            logged.append("written")
        except BaseException as error:
            logged.append(type(error).__name__)
        await other.close()
    c.add_query_logger(log)
    done = asyncio.Event()
    async def read():
        while not done.is_set():
            try:
                await c.execute("select * from v_purge")
                logged.append("read-write")
            except (asyncpg.InterfaceError, asyncpg.PostgresError):
                pass
            await asyncio.sleep(0)
    tasks = [asyncio.create_task(read()) for _ in range(3)]
    for n in range(5):
        try:
            await c.execute(f"create database tasks_{n}")
        except asyncpg.InterfaceError:
            pass
        if c.is_closed():
            break
    done.set()
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.3)
    print(sorted(set(logged) - {"Refused"}))
asyncio.run(go())
