"""psycopg 3, asynchronous: a result of 100 MB, a large value, COPY, read as the socket has news."""
import asyncio

import psycopg

ROWS = 100_000


async def large(connection):
    sql = f"select n, repeat('x', 1000) from generate_series(1, {ROWS}) n"
    cursor = await connection.execute(sql, prepare=False)
    rows = await cursor.fetchall()
    assert len(rows) == ROWS and rows[-1] == (ROWS, "x" * 1000), rows[-1]
    # One value, of which no part is a message of its own.
    cursor = await connection.execute("select repeat('y', 20000000)", prepare=False)
    assert await cursor.fetchone() == ("y" * 20_000_000,)
    size = 0
    async with connection.cursor() as cursor:
        async with cursor.copy(f"copy ({sql}) to stdout") as copy:
            async for block in copy:
                size += len(block)
    assert size > ROWS * 1000, size


async def main():
    async with await psycopg.AsyncConnection.connect("", autocommit=True) as connection:
        await large(connection)


asyncio.run(main())
print("ok")
