"""The console through asyncpg, which asks for every column in binary, prepares every statement by
name, and knows no other way.

CONSOLE_COLUMNS names the table of what each SHOW sends: command, column, type oid.
"""
import asyncio
import decimal
import os
import sys
from collections import defaultdict

sys.path.pop(0)  # this folder, whose files bear the names of the modules that they try
import asyncpg

TYPES = {20: int, 23: int, 25: str, 1700: decimal.Decimal}

EXPECTED = defaultdict(list)
with open(os.environ["CONSOLE_COLUMNS"], encoding="utf-8") as table:
    for line in table:
        if line.startswith("SHOW "):
            command, column, oid = line.rstrip("\n").split("\t")
            EXPECTED[command].append((column, TYPES[int(oid)]))
EXPECTED["SHOW ACTIVE_SOCKETS"] = EXPECTED["SHOW SOCKETS"]
EXPECTED["SHOW ERRORS"] = [("side", str), ("reason", str), ("count", int), ("last_time", str),
                           ("database", str), ("user", str), ("detail", str)]
EXPECTED["SHOW EVENTS"] = [("time", str), ("count", int), ("event", str)]
SPREAD = ["count", "p50", "p90", "p95", "p99", "max"]
EXPECTED["SHOW LATENCY"] = [("database", str), ("measure", str)] + [
    (name, int) for name in SPREAD + ["total_" + name for name in SPREAD]]
EXPECTED["SHOW TLS"] = [("side", str), ("databases", str), ("file", str), ("subject", str), ("names", str),
                        ("not_after", str), ("handshakes", int), ("failures", int), ("resumptions", int)]


async def tables(connection, *empty):
    filled = set()
    for command, columns in EXPECTED.items():
        for row in await connection.fetch(command):
            filled.add(command)
            assert list(row.keys()) == [name for name, _ in columns], (command, row)
            for (name, kind), value in zip(columns, row.values()):
                assert value is None or type(value) is kind, (command, name, value)
    missing = set(EXPECTED) - filled - set(empty)
    assert missing <= {"SHOW PEERS", "SHOW PEER_POOLS", "SHOW DNS_HOSTS", "SHOW DNS_ZONES",
                       "SHOW ACTIVE_SOCKETS"}, missing


async def values(connection):
    config = {row["key"]: row["value"] for row in await connection.fetch("SHOW CONFIG")}
    assert config["max_client_conn"] == "100"
    assert config["listen_port"] == os.environ["PGPORT"]
    pools = {row["database"]: row for row in await connection.fetch("SHOW POOLS")}
    assert pools["pgbouncer"]["cl_active"] == 1 and pools["app"]["pool_mode"] == "transaction"
    before, after = [
        {row["database"]: row for row in await connection.fetch("SHOW STATS_TOTALS")}
        for _ in range(2)
    ]
    assert after["pgbouncer"]["query_count"] == before["pgbouncer"]["query_count"] + 1
    assert after["app"]["query_count"] >= 1 and after["app"]["bytes_sent"] > 0
    (row,) = [row for row in await connection.fetch("SHOW CLIENTS") if row["database"] == "pgbouncer"]
    assert row["local_port"] == int(os.environ["PGPORT"]) and row["addr"] == "127.0.0.1", row
    assert (await connection.fetchval("SHOW VERSION")).startswith("PgBouncer 1.26.")


async def commands(connection):
    assert await connection.execute("PAUSE; SHOW STATE; RESUME") == "RESUME"
    assert await connection.fetch("RELOAD") == []
    assert await connection.fetch("SET default_pool_size = 19") == []
    statement = await connection.prepare("SHOW LISTS")
    for _ in range(3):
        assert len(await statement.fetch()) == 14
    try:
        await connection.fetch("SHOW POOLZ")
        raise AssertionError("SHOW POOLZ succeeds")
    except asyncpg.ProtocolViolationError as error:
        assert error.hint == "Perhaps you meant SHOW POOLS.", error.hint
    try:
        await connection.fetch("SHOW $1", "POOLS")
        raise AssertionError("a parameter is taken")
    except asyncpg.FeatureNotSupportedError:
        pass


async def main():
    connection = await asyncpg.connect()
    await tables(connection, "SHOW ERRORS")
    await values(connection)
    await commands(connection)
    # PAUSE has closed the servers, and commands were refused.
    await tables(connection, "SHOW SERVERS")
    await connection.close()


asyncio.run(main())
print("ok")
