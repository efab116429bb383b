"""A table grows columns while clients run prepared `SELECT *` on it: first with psycopg, which asks
for the columns each time, then with asyncpg, which does not and prepares anew when it must. No error
reaches the program. WORKERS is the number of clients.
"""
import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

sys.path.pop(0)  # this folder, where asyncpg.py would be found for the module
import asyncpg
import psycopg

WORKERS = int(os.environ.get("WORKERS", "20"))
CHANGES = 15
SQL = "select * from changing"


class Counts:
    """How many queries each client has run."""

    def __init__(self):
        self.done = [0] * WORKERS
        self.columns = [0] * WORKERS
        self.is_over = False

    def note(self, number, row):
        assert row[0] == 1 and all(value is None for value in row[1:]), row
        assert len(row) >= self.columns[number], "columns do not go away"
        self.done[number] += 1
        self.columns[number] = len(row)


def grow(counts, connection):
    """Adds columns, each when every client has been at work since the last."""
    wait = threading.Event().wait
    for change in range(CHANGES):
        before = list(counts.done)
        while any(now < then + 3 for now, then in zip(counts.done, before)):
            if counts.is_over:
                return
            wait(0.002)
        connection.execute(f"alter table changing add column c{change} int")
    while any(columns != CHANGES + 1 for columns in counts.columns) and not counts.is_over:
        wait(0.002)


def create():
    connection = psycopg.connect("", autocommit=True, prepare_threshold=None)
    connection.execute("drop table if exists changing")
    connection.execute("create table changing (id int)")
    connection.execute("insert into changing values (1)")
    return connection


def with_psycopg():
    counts, changer = Counts(), create()

    def work(number):
        try:
            with psycopg.connect("", autocommit=True, prepare_threshold=0) as connection:
                while not counts.is_over:
                    counts.note(number, connection.execute(SQL).fetchone())
        finally:
            counts.is_over = True

    with ThreadPoolExecutor(WORKERS) as pool:
        workers = [pool.submit(work, number) for number in range(WORKERS)]
        grow(counts, changer)
        counts.is_over = True
        for worker in workers:
            worker.result()
    assert counts.columns == [CHANGES + 1] * WORKERS, counts.columns


async def with_asyncpg():
    counts, changer = Counts(), create()

    async def work(number):
        connection = await asyncpg.connect()
        try:
            while not counts.is_over:
                counts.note(number, tuple(await connection.fetchrow(SQL)))
        finally:
            counts.is_over = True
            await connection.close()

    workers = [asyncio.create_task(work(number)) for number in range(WORKERS)]
    await asyncio.to_thread(grow, counts, changer)
    counts.is_over = True
    await asyncio.gather(*workers)
    assert counts.columns == [CHANGES + 1] * WORKERS, counts.columns


with_psycopg()
asyncio.run(with_asyncpg())
print("ok")
