"""Reads the console as exporters do: columns by name, numbers as numbers, and nothing that they
would stumble over. By psycopg2 (simple protocol), psycopg 3 and pg8000 (extended protocol), and
asyncpg (extended protocol, all columns in binary).
"""
import asyncio
import os
import re
import sys

sys.path.pop(0)  # this folder, whose files bear the names of the modules that they try
import asyncpg
import pg8000.native
import psycopg
import psycopg2

TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+$")


def by_psycopg2():
    connection = psycopg2.connect("")
    connection.autocommit = True

    def read(command):
        with connection.cursor() as cursor:
            cursor.execute(command)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    return read


def by_psycopg3():
    connection = psycopg.connect("", autocommit=True, row_factory=psycopg.rows.dict_row)
    return lambda command: connection.execute(command, prepare=True).fetchall()


def by_pg8000():
    names = ("PGUSER", "PGHOST", "PGPORT", "PGDATABASE", "PGPASSWORD")
    user, host, port, database, password = (os.environ[name] for name in names)
    connection = pg8000.native.Connection(
        user, host=host, port=int(port), database=database, password=password
    )

    def read(command):
        rows = connection.run(command)
        return [dict(zip((c["name"] for c in connection.columns), row)) for row in rows]

    return read


def by_asyncpg():
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect())
    return lambda command: [dict(row) for row in loop.run_until_complete(connection.fetch(command))]


def numbers(row, names):
    for name in names.split():
        assert isinstance(int(row[name]), int), (name, row)


def export(read):
    (version,) = read("SHOW VERSION")
    assert list(version) == ["version"] and re.search(r"\d+\.\d+\.\d+", version["version"])

    lists = read("SHOW LISTS")
    assert all(len(row) == 2 for row in lists)
    lists = {row["list"]: int(row["items"]) for row in lists}
    for name in (
        "databases users pools free_clients used_clients login_clients free_servers used_servers"
        " dns_names dns_zones dns_queries dns_pending"
    ).split():
        assert lists[name] >= 0, name

    config = {row["key"]: row for row in read("SHOW CONFIG")}
    assert set(config["listen_port"]) == {"key", "value", "default", "changeable"}
    numbers({k: v["value"] for k, v in config.items()}, "max_client_conn max_user_connections")
    assert "log_pooler_errors" in config

    databases = {row["name"]: row for row in read("SHOW DATABASES")}
    for row in databases.values():
        numbers(row, "port pool_size reserve_pool_size max_connections current_connections")
        numbers(row, "paused disabled")
        assert {"host", "database", "force_user", "pool_mode"} <= set(row)
    assert "pgbouncer" in databases and "app" in databases

    totals = {row["database"]: row for row in read("SHOW STATS_TOTALS")}
    names = (
        "query_count query_time bytes_received bytes_sent wait_time xact_count xact_time"
        " client_parse_count server_parse_count bind_count server_assignment_count"
    )
    for row in totals.values():
        numbers(row, names)
    assert int(totals["app"]["query_count"]) >= 1

    stats = {row["database"]: row for row in read("SHOW STATS")}
    assert all(isinstance(name, str) for name in stats)
    numbers(stats["app"], "total_xact_count total_query_count total_received total_sent avg_recv")
    assert len(stats["app"]) == 25
    read("SHOW STATS_AVERAGES"), read("SHOW TOTALS"), read("SHOW MEM")

    pools = {(row["database"], row["user"]): row for row in read("SHOW POOLS")}
    pool = pools["app", os.environ["APP_USER"]]
    numbers(pool, "cl_active cl_waiting sv_active sv_idle sv_used sv_tested sv_login maxwait")
    assert len(pool) == 17 and pool["load_balance_hosts"] is None

    for command in ("SHOW CLIENTS", "SHOW SERVERS"):
        for row in read(command):
            assert TIME.match(row["connect_time"]) and TIME.match(row["request_time"]), row
            numbers(row, "port local_port wait wait_us close_needed remote_pid id")
            assert isinstance(row["application_name"], str)


for make in (by_psycopg2, by_psycopg3, by_pg8000, by_asyncpg):
    read = make()
    for _ in range(3):
        export(read)
print("ok")
