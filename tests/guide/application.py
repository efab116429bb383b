"""One worker of the guide's application, as Python programs connect: psycopg 3.

    application.py kept|each SECONDS

Prints requests, and the milliseconds that they took together.
"""

import os
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
    mode, seconds = sys.argv[1], float(sys.argv[2])
    kept = connect() if mode == "kept" else None
    requests, spent, end = 0, 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        connection = kept or connect()
        request(connection)
        if connection is not kept:
            connection.close()
        spent += time.monotonic() - began
        requests += 1
        time.sleep(random.uniform(0.2, 0.6))
    print(requests, f"{1000 * spent:.3f}")


main()
