"""One worker of the guide's application, as Python programs connect: psycopg 3.

    application.py kept|each FOLDER

Leaves a file in FOLDER after its first request, and ends when there is one named `stop`. Prints
requests, and the milliseconds that they took together.
"""

import os
import pathlib
import random
import sys
import time

import psycopg


def connect():
    return psycopg.connect(
        host=os.environ["DB_HOST"],
        port=os.environ["DB_PORT"],
        dbname=os.environ["DB_DATABASE"],
        user=os.environ["DB_USERNAME"],
        password=os.environ["DB_PASSWORD"],
        autocommit=True,
    )


def request(connection):
    number = random.randint(1, 1000)
    row = connection.execute("select title from articles where id = %s", [number]).fetchone()
    assert row == (f"article {number}",), row
    with connection.transaction():
        connection.execute("update articles set views = views + %s where id = %s", [1, number])


def main():
    mode, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    kept = connect() if mode == "kept" else None
    requests, spent = 0, 0.0
    while not (folder / "stop").exists():
        began = time.monotonic()
        connection = kept or connect()
        request(connection)
        if connection is not kept:
            connection.close()
        spent += time.monotonic() - began
        requests += 1
        (folder / str(os.getpid())).touch()
        time.sleep(random.uniform(0.2, 0.6))
    print(requests, f"{1000 * spent:.3f}")


main()
