"""pg8000: each message of the extended protocol in a round trip of its own, with Flush and Sync.

Its unnamed statement spans two Syncs, so below session pooling it is safe only inside a
transaction, or alone; WORKERS says how many connections work at once.
"""
import os
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.pop(0)  # this folder, where this very file would be found for the module
import pg8000.dbapi

MODE = os.environ["POOL_MODE"]
WORKERS = int(os.environ.get("WORKERS", "1"))


def connect():
    env = os.environ
    authority = env.get("PGSSLROOTCERT")
    context = ssl.create_default_context(cafile=authority) if authority else None
    return pg8000.dbapi.connect(env["PGUSER"], env["PGHOST"], env["PGDATABASE"],
                                int(env["PGPORT"]), env["PGPASSWORD"], ssl_context=context)


def work(number):
    mark = f"worker{number}"
    connection = connect()
    connection.autocommit = MODE == "statement"
    cursor = connection.cursor()
    for n in range(20):
        cursor.execute("select cast(%s as int), cast(%s as text)", (n, mark))
        assert list(cursor.fetchone()) == [n, mark]
    try:
        cursor.execute("select 1/0")
        raise AssertionError("a division by zero succeeds")
    except pg8000.dbapi.DatabaseError:
        connection.rollback()
    if MODE != "statement":
        cursor.execute("create temp table own (mark text) on commit drop")
        cursor.executemany("insert into own values (%s)", [(mark,) for _ in range(50)])
        cursor.execute("select count(*) from own where mark = %s", (mark,))
        assert list(cursor.fetchone()) == [50]
        connection.commit()
    connection.close()


with ThreadPoolExecutor(WORKERS) as pool:
    list(pool.map(work, range(WORKERS * 2)))
print("ok")
