"""psycopg 3: parameters, transactions, pipelines, COPY, cursors, cancel; several threads at once.

POOL_MODE names the pooler's mode; PREPARE=1 lets psycopg prepare every statement by name. WORKERS is
the number of threads, and STATEMENTS that of the statements that each has for itself.
"""
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg

MODE = os.environ["POOL_MODE"]
PREPARE = os.environ.get("PREPARE") == "1"
WORKERS = int(os.environ.get("WORKERS", "8"))
STATEMENTS = int(os.environ.get("STATEMENTS", "10"))
ROUNDS = 20


def connect():
    # Statement pooling has no transactions, so psycopg must not begin any.
    connection = psycopg.connect("", autocommit=MODE == "statement")
    connection.prepare_threshold = 0 if PREPARE else None
    return connection


def values(connection, mark):
    for n in range(ROUNDS):
        row = connection.execute("select %s::int, %s::text", (n, f"{mark}-{n}")).fetchone()
        assert row == (n, f"{mark}-{n}"), row
    try:
        connection.execute("select 1/%s", (0,))
        raise AssertionError("a division by zero succeeds")
    except psycopg.errors.DivisionByZero:
        connection.rollback()
    connection.execute(";")  # an empty query, which SQLAlchemy sends to see whether one lives
    big = "x" * 1_000_000
    assert connection.execute("select %s::text", (big,)).fetchone() == (big,)
    connection.rollback()


def many(connection, mark):
    for n in range(STATEMENTS):
        for again in range(2):
            row = connection.execute(f"select %s::int + {n}, %s::text", (again, mark)).fetchone()
            assert row == (again + n, mark), row
            connection.rollback()
    with connection.pipeline():
        cursors = [connection.execute(f"select {n}, %s::text", (mark,)) for n in range(STATEMENTS)]
    assert [c.fetchone() for c in cursors] == [(n, mark) for n in range(STATEMENTS)]
    connection.rollback()


def pipeline(connection, mark):
    with connection.pipeline() as line:
        cursors = [connection.execute("select %s::text", (f"{mark}-{n}",)) for n in range(ROUNDS)]
        line.sync()
        more = connection.execute("select %s::text", (mark,))
    assert [c.fetchone()[0] for c in cursors] == [f"{mark}-{n}" for n in range(ROUNDS)]
    assert more.fetchone() == (mark,)
    connection.rollback()
    try:
        with connection.pipeline():
            connection.execute("select 1/%s", (0,))
            connection.execute("select 'never run'")
        raise AssertionError("a division by zero succeeds")
    except psycopg.errors.DivisionByZero:
        connection.rollback()
    assert connection.execute("select %s::text", (mark,)).fetchone() == (mark,)
    connection.rollback()


def transactions(connection, mark):
    with connection.transaction():
        connection.execute("create temp table own (mark text) on commit drop")
        connection.execute("insert into own values (%s)", (mark,))
        try:
            with connection.transaction():
                connection.execute("insert into own values ('undone')")
                raise psycopg.Rollback()
        except psycopg.Rollback:
            pass
        assert connection.execute("select mark from own").fetchall() == [(mark,)]
        with connection.cursor() as cursor:
            with cursor.copy("copy own from stdin") as copy:
                for n in range(1000):
                    copy.write_row((f"{mark} {n}",))
            with cursor.copy("copy (select mark from own) to stdout") as copy:
                assert sum(len(block) > 0 for block in copy) >= 1001
    with connection.transaction(), connection.cursor(name="named") as cursor:
        cursor.itersize = 100
        cursor.execute("select generate_series(1, %s)", (1000,))
        assert sum(row[0] for row in cursor) == 500_500


def cancel(connection, _mark):
    timer = threading.Timer(0.3, connection.cancel_safe)
    timer.start()
    try:
        connection.execute("select pg_sleep(60)")
        raise AssertionError("the query was not cancelled")
    except psycopg.errors.QueryCanceled:
        connection.rollback()
    timer.join()
    assert connection.execute("select 1").fetchone() == (1,)
    connection.rollback()


def work(number):
    mark = f"worker{number}"
    steps = [values, many, pipeline] + ([transactions] if MODE != "statement" else [])
    for step in steps + ([cancel] if number == 0 else []):
        with connect() as connection:
            step(connection, mark)


with ThreadPoolExecutor(WORKERS) as pool:
    list(pool.map(work, range(WORKERS)))
print("ok")
