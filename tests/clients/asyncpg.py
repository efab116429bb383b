"""asyncpg: statements with Flush before Sync, transactions, cursors, COPY, its own pool.

PREPARE=1 keeps asyncpg's cache of named statements; without it every statement is unnamed. WORKERS
is the number of connections, and STATEMENTS that of the statements that each has for itself.
"""
import asyncio
import os
import sys

sys.path.pop(0)  # this folder, where this very file would be found for the module
import asyncpg

MODE = os.environ["POOL_MODE"]
CACHE = 100 if os.environ.get("PREPARE") == "1" else 0


WORKERS = int(os.environ.get("WORKERS", "8"))
STATEMENTS = int(os.environ.get("STATEMENTS", "10"))


async def many(connection, mark):
    for n in range(STATEMENTS):
        for again in range(2):
            row = await connection.fetchrow(f"select $1::int + {n}, $2::text", again, mark)
            assert tuple(row) == (again + n, mark), row


async def values(connection, mark):
    for n in range(20):
        row = await connection.fetchrow("select $1::int, $2::text", n, mark)
        assert tuple(row) == (n, mark), row
    try:
        await connection.fetchval("select 1/$1::int", 0)
        raise AssertionError("a division by zero succeeds")
    except asyncpg.DivisionByZeroError:
        pass
    rows = await connection.fetch("select $1 || n as n from generate_series(1, 1000) n", mark)
    assert [row["n"] for row in rows] == [f"{mark}{n}" for n in range(1, 1001)]


async def transactions(connection, mark):
    async with connection.transaction():
        await connection.execute("create temp table own (n int, mark text) on commit drop")
        await connection.executemany("insert into own values ($1, $2)",
                                     [(n, mark) for n in range(100)])
        await connection.copy_records_to_table("own", records=[(n, mark) for n in range(1000)])
        assert await connection.fetchval("select count(*) from own where mark = $1", mark) == 1100
        total = 0
        async for row in connection.cursor("select n from own where n >= 100", prefetch=50):
            total += row["n"]
        assert total == sum(range(100, 1000))


async def work(pool, number):
    for step in [values, many] + ([transactions] if MODE != "statement" else []):
        async with pool.acquire() as connection:
            await step(connection, f"worker{number}")


async def main():
    async with asyncpg.create_pool(min_size=WORKERS, max_size=WORKERS, statement_cache_size=CACHE) as pool:
        await asyncio.gather(*(work(pool, n) for n in range(2 * WORKERS)))
    connection = await asyncpg.connect(statement_cache_size=CACHE)
    try:
        await connection.fetchval("select pg_sleep(60)", timeout=0.3)
        raise AssertionError("the query was not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("select 1") == 1
    await connection.close()


asyncio.run(main())
print("ok")
