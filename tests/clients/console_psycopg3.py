"""The console through psycopg 3, over the simple and the extended protocol.

CONSOLE_COLUMNS names the table of what each SHOW sends: command, column, type oid.
"""
import os
from collections import defaultdict
from decimal import Decimal

import psycopg

EXPECTED = defaultdict(list)
with open(os.environ["CONSOLE_COLUMNS"], encoding="utf-8") as table:
    for line in table:
        if line.startswith("SHOW "):
            command, column, oid = line.rstrip("\n").split("\t")
            EXPECTED[command].append((column, int(oid)))
EXPECTED["SHOW ACTIVE_SOCKETS"] = EXPECTED["SHOW SOCKETS"]

connection = psycopg.connect("", autocommit=True)


def simple(command):
    return connection.execute(command)


def prepared(command):
    return connection.execute(command, prepare=True)


def pipelined(command):
    with connection.pipeline():
        return connection.execute(command)


def binary(command):
    return connection.execute(command, binary=True)


TYPES = {20: int, 23: int, 25: str, 1700: Decimal}

for run in (simple, prepared, prepared, pipelined, binary):
    for command, columns in EXPECTED.items():
        cursor = run(command)
        described = [(column.name, column.type_code) for column in cursor.description]
        assert described == columns, (run.__name__, command, described)
        assert cursor.statusmessage == "SHOW", cursor.statusmessage
        for row in cursor.fetchall():
            assert len(row) == len(columns)
            for (name, oid), value in zip(columns, row):
                assert value is None or type(value) is TYPES[oid], (command, name, value)

# In binary it is what it is as text, where nothing has changed in between.
for command in ("SHOW CONFIG", "SHOW DATABASES", "SHOW USERS", "SHOW LISTS", "SHOW MEM"):
    assert binary(command).fetchall() == prepared(command).fetchall(), command

# What is not a table: notices, tags, errors.
notices = []
connection.add_notice_handler(lambda n: notices.append((n.message_primary, n.message_detail)))
for run in (simple, prepared, pipelined):
    assert run("SHOW HELP").statusmessage == "SHOW"
    assert run("SET extra_float_digits = 3").statusmessage == "SET"
    assert run("SET default_pool_size = 19").statusmessage == "SET default_pool_size=19"
    for word in ("PAUSE", "RESUME", "RECONNECT", "WAIT_CLOSE", "KILL", "RELOAD"):
        assert run(word).statusmessage == word, word
    for word in ("PAUSE", "RESUME", "DISABLE", "ENABLE", "RECONNECT", "WAIT_CLOSE", "KILL", "RESUME"):
        assert run(f"{word} app").statusmessage == word, word
    for command, told in {
        "KILL_CLIENT 999999": "client not found",
        "RESUME": "pooler is not paused",
        "SHUTDOWN NOW": "invalid command 'SHUTDOWN NOW', use SHOW HELP;",
        "SET listen_port = 1": "SET failed",
    }.items():
        try:
            run(command)
            raise AssertionError(f"{command} succeeds")
        except psycopg.Error as error:
            assert error.diag.message_primary == told, (command, error.diag.message_primary)
    try:
        run("SHOW POOLZ")
        raise AssertionError("SHOW POOLZ succeeds")
    except psycopg.Error as error:
        assert error.diag.message_primary == "invalid command 'SHOW POOLZ', use SHOW HELP;"
        assert error.diag.message_hint == "Perhaps you meant SHOW POOLS."
        assert error.diag.severity == "ERROR" and error.sqlstate == "08P01"
usages = [detail for message, detail in notices if message == "Console usage"]
assert len(usages) == 3 and "SHOW STATS|STATS_TOTALS" in usages[0], notices

try:
    connection.execute("SHOW POOLS -- %s", ("x",))
    raise AssertionError("a parameter is taken")
except psycopg.errors.FeatureNotSupported as error:
    assert "no parameters" in error.diag.message_primary
assert connection.execute("SHOW VERSION").fetchone()[0].startswith("PgBouncer 1.26.")
print("ok")
