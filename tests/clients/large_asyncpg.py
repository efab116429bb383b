"""asyncpg: a result of 100 MB, in rows and by COPY."""
import asyncio
import sys

sys.path.pop(0)  # the folder holds an asyncpg.py
import asyncpg

ROWS = 100_000


async def main():
    connection = await asyncpg.connect(statement_cache_size=0)
    sql = f"select n, repeat('x', 1000) from generate_series(1, {ROWS}) n"
    rows = await connection.fetch(sql)
    assert len(rows) == ROWS and tuple(rows[-1]) == (ROWS, "x" * 1000), rows[-1]
    assert await connection.fetchval("select repeat('y', 20000000)") == "y" * 20_000_000
    size = 0

    async def take(block):
        nonlocal size
        size += len(block)

    await connection.copy_from_query(sql, output=take)
    assert size > ROWS * 1000, size
    await connection.close()


asyncio.run(main())
print("ok")
