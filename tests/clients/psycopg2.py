"""psycopg2: simple queries, transactions, COPY, named cursors, executemany; several threads."""
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.pop(0)  # this folder, where this very file would be found for the module
import psycopg2
import psycopg2.errors
from psycopg2.extras import execute_values

MODE = os.environ["POOL_MODE"]


def queries(connection, mark):
    connection.autocommit = True
    with connection.cursor() as cursor:
        for n in range(50):
            cursor.execute("select %s, %s", (n, mark))
            assert cursor.fetchone() == (n, mark)
        try:
            cursor.execute("select 1/0")
            raise AssertionError("a division by zero succeeds")
        except psycopg2.errors.DivisionByZero:
            pass
        cursor.execute("select repeat(%s, 100000)", (mark,))
        assert cursor.fetchone() == (mark * 100_000,)


def transactions(connection, mark):
    with connection, connection.cursor() as cursor:
        cursor.execute("create temp table own (n int, mark text) on commit drop")
        execute_values(cursor, "insert into own values %s", [(n, mark) for n in range(500)])
        cursor.copy_expert("copy own from stdin", io.StringIO(f"1\t{mark}\n" * 500))
        out = io.StringIO()
        cursor.copy_expert("copy own to stdout", out)
        lines = out.getvalue().splitlines()
        assert len(lines) == 1000 and all(line.endswith(mark) for line in lines)
    with connection, connection.cursor("named") as cursor:
        cursor.execute("select generate_series(1, 5000)")
        assert sum(row[0] for row in cursor) == 12_502_500


def work(number):
    for step in [queries] + ([transactions] if MODE != "statement" else []):
        connection = psycopg2.connect("")
        step(connection, f"worker{number}")
        connection.close()


with ThreadPoolExecutor(8) as pool:
    list(pool.map(work, range(8)))
print("ok")
