"""psqlODBC by way of pyodbc: statements named after addresses, described before they are run, and
dropped by a simple query DEALLOCATE with the name in quotes; transactions, errors.
"""
import os
from concurrent.futures import ThreadPoolExecutor

import pyodbc

MODE = os.environ["POOL_MODE"]
WORKERS = int(os.environ.get("WORKERS", "8"))
STATEMENTS = int(os.environ.get("STATEMENTS", "10"))

pyodbc.pooling = False


def connect():
    parts = {
        "DRIVER": "{PostgreSQL Unicode}", "SERVER": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"], "UID": os.environ["PGUSER"],
        "PWD": os.environ["PGPASSWORD"], "DATABASE": os.environ["PGDATABASE"],
        "UseServerSidePrepare": "1", "SSLmode": os.environ.get("PGSSLMODE", "disable"),
    }
    return pyodbc.connect(";".join(f"{k}={v}" for k, v in parts.items()), autocommit=True)


def values(connection, mark):
    for n in range(STATEMENTS):
        with connection.cursor() as cursor:
            for again in range(2):
                sql = f"select cast(? as int) + {n}, cast(? as text)"
                row = cursor.execute(sql, again, mark).fetchone()
                assert tuple(row) == (again + n, mark), row
    with connection.cursor() as cursor:
        try:
            cursor.execute("select 1 / cast(? as int)", 0).fetchone()
            raise AssertionError("a division by zero succeeds")
        except pyodbc.Error as error:
            assert error.args[0] == "22012", error


def transaction(connection, mark):
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("create temp table own (mark text) on commit drop")
        for _ in range(10):
            cursor.execute("insert into own values (?)", mark)
        count = cursor.execute("select count(*) from own where mark = ?", mark).fetchval()
        assert count == 10, count
    connection.commit()
    connection.autocommit = True


def work(number):
    connection = connect()
    values(connection, f"worker{number}")
    if MODE != "statement":
        transaction(connection, f"worker{number}")
    connection.close()


with ThreadPoolExecutor(WORKERS) as pool:
    list(pool.map(work, range(WORKERS)))
print("ok")
