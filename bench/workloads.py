"""The workloads: each drives a peer as a client would, and gives what it saw as a dictionary.

`n` is what CPU time is divided by: transactions, megabytes or logins.
"""
import re
import subprocess
import sys
import time
from pathlib import Path

from servers import Failed, cpu_ns, login, program

PIPELINE = "\\startpipeline\n" + "select 1;\n" * 20 + "\\endpipeline\n"

SCRIPTS = {
    "rows": "select * from pgbench_accounts where aid <= 1000;\n",
    "big": "select repeat('x', 1000000);\n",
    "pipeline": PIPELINE,
    "pipeline_prepared": PIPELINE,
}

# Arguments of pgbench beside the port and the time.
PGBENCH = {
    "simple": ["-S", "-M", "simple", "-c", "16"],
    "extended": ["-S", "-M", "extended", "-c", "16"],
    "prepared": ["-S", "-M", "prepared", "-c", "16"],
    "single": ["-S", "-M", "simple", "-c", "1"],
    "churn": ["-S", "-M", "simple", "-c", "8", "-C"],
    "rows": ["-c", "4"],
    "big": ["-c", "4"],
    "pipeline": ["-M", "extended", "-c", "4"],
    "pipeline_prepared": ["-M", "prepared", "-c", "4"],
}

# The rest: COPY of so many megabytes, logins without a query, clients that just stay, the admin
# console beside 500 busy and 5,000 idle clients, and those of `crowds`.
OTHERS = ["copy", "copyin", "logins", "idle", "console"]
CROWDS = ["crowd500", "crowd5000", "idle_crowd", "storm", "files", "handshakes"]
ALL = [*PGBENCH, *OTHERS, *CROWDS]

# What one unit of CPU time is about, where it is not a transaction.
UNITS = {"copy": "MB", "copyin": "MB", "logins": "login", "idle": "login", "console": "command",
         "handshakes": "handshake"}

COPY_MB = 200


def pgbench(peer, work, seconds, folder):
    arguments = list(PGBENCH[work])
    if work in SCRIPTS:
        script = folder / f"{work}.sql"
        script.write_text(SCRIPTS[work])
        arguments += ["-f", str(script)]
    # To warm up is a matter of transactions: a second may pass before all have logged in.
    amount = ["-T", str(seconds)] if seconds > 1 else ["-t", "10"]
    command = [program("pgbench"), "-n", "-j", "1", *amount, *arguments]
    done = subprocess.run(command, env=login(peer.port), capture_output=True, text=True,
                          timeout=seconds * 5 + 60)
    out = done.stdout + done.stderr

    def number(pattern):
        found = re.search(pattern, out)
        return float(found[1]) if found else None

    count = number(r"transactions actually processed: (\d+)")
    failed = number(r"number of failed transactions: (\d+)")
    if done.returncode or not count or failed:
        raise Failed(f"pgbench exits with {done.returncode}: {out[-500:]}")
    return {"n": count, "tps": number(r"tps = ([\d.]+)"), "ms": number(r"average = ([\d.]+)")}


def copy(peer, megabytes=COPY_MB):
    query = f"copy (select repeat('x', 999) from generate_series(1, {megabytes * 1000})) to stdout"
    begin = time.monotonic()
    with subprocess.Popen([program("psql"), "-X", "-q", "-c", query], env=login(peer.port),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as psql:
        size = sum(len(block) for block in iter(lambda: psql.stdout.read(1 << 20), b""))
        error = psql.stderr.read().decode()
    if psql.returncode or size != megabytes * 1_000_000:
        raise Failed(f"COPY out gave {size} bytes: {error[-300:]}")
    return {"n": megabytes, "mb_s": megabytes / (time.monotonic() - begin)}


def copyin(peer, megabytes=COPY_MB):
    block = (b"x" * 999 + b"\n") * 1000
    begin = time.monotonic()
    with connect(peer) as connection, connection.cursor() as cursor:
        cursor.execute("create temp table copied (filling text) on commit drop")
        with cursor.copy("copy copied from stdin") as stream:
            for _ in range(megabytes):
                stream.write(block)
        count = cursor.execute("select count(*) from copied").fetchone()[0]
    if count != megabytes * 1000:
        raise Failed(f"COPY in stored {count} rows")
    return {"n": megabytes, "mb_s": megabytes / (time.monotonic() - begin)}


def connect(peer, database=None):
    import psycopg
    who = {key[2:].lower(): value for key, value in login(peer.port).items()
           if key in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGSSLMODE")}
    # On the console nothing may begin a transaction.
    return psycopg.connect(dbname=database or login(peer.port)["PGDATABASE"],
                           autocommit=database is not None, **who)


def logins(peer, seconds):
    """Of a driver, one after the other: under TLS, which the clients of `crowds` do not know."""
    end, count, begin = time.monotonic() + seconds, 0, time.monotonic()
    while time.monotonic() < end:
        connect(peer).close()
        count += 1
    return {"n": count, "tps": count / (time.monotonic() - begin)}


def console(peer, seconds):
    """How long the console takes to answer while 500 clients are busy, and how long SHOW CLIENTS
    keeps the others waiting when there are 5,000: the pooler's own time for it, and the slowest of
    a thousand queries beside it, which on a busy machine says more of the machine."""
    with subprocess.Popen([program("pgbench"), "-n", "-S", "-c", "500", "-j", "1", "-T",
                           str(seconds + 15)], env=login(peer.port), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as crowd:
        time.sleep(10)  # so many logins take their time
        if crowd.poll() is not None:
            raise Failed("the crowd is gone")
        answers = timed(peer, ["SHOW VERSION", "SHOW POOLS", "SHOW STATS", "SHOW CLIENTS"], seconds)
        crowd.terminate()
    with IdleClients(peer, 5000):
        before = slow(timed(peer, ["select 1"], seconds, database=None))
        with Loop(peer, "SHOW CLIENTS"):
            during = slow(timed(peer, ["select 1"], seconds, database=None))
        cpu = cpu_ns(peer.pid)
        shows = len(timed(peer, ["SHOW CLIENTS"], 2))
        cpu = cpu_ns(peer.pid) - cpu
    return {"n": len(answers), "ms": sum(answers) / len(answers), "answer_ms": max(answers),
            "show_ms": cpu / shows / 1e6, "calm_ms": before, "stall_ms": during}


def slow(times):
    return sorted(times)[len(times) * 999 // 1000]


def timed(peer, commands, seconds, database="pgbouncer"):
    """Milliseconds that each command took, over and over for some time."""
    times, end = [], time.monotonic() + seconds
    with connect(peer, database) as connection:
        while time.monotonic() < end:
            for command in commands:
                begin = time.perf_counter()
                connection.pgconn.exec_(command.encode())
                times.append((time.perf_counter() - begin) * 1000)
            time.sleep(0.001)
    return times


class Loop:
    """A command on the console ten times a second, in a process of its own."""

    CODE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from servers import Peer
from workloads import connect
console = connect(Peer("loop", int(sys.argv[2])), "pgbouncer")
print("ready", flush=True)
while True:
    console.pgconn.exec_(sys.argv[3].encode())
    time.sleep(0.1)
"""

    def __init__(self, peer, command):
        here = str(Path(__file__).resolve().parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, here, str(peer.port), command],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise Failed("the console lets nobody in")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(30)


class IdleClients:
    """Clients that have logged in and stay, in a process of their own, so that their number is not
    bounded by our descriptors."""

    CODE = """
import resource, sys
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
sys.path.insert(0, sys.argv[1])
from servers import Peer
from workloads import connect
peer = Peer("idle", int(sys.argv[2]))
clients = [connect(peer) for _ in range(int(sys.argv[3]))]
print("ready", flush=True)
sys.stdin.read()
"""

    def __init__(self, peer, count):
        here = str(Path(__file__).resolve().parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, here, str(peer.port), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise Failed(f"the clients do not all log in: {self.process.stderr.read()[-300:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
