"""The workloads of many: crowds that are busy or idle, storms of logins, files of thousands of lines.

Their clients come from `clients.c`. Each gives its whole row itself: what is compared within it (a
crowd and sixteen clients, a storm and a calm) is measured in turns, by the same processes.
"""
import base64
import hashlib
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from servers import CLIENTS_TLS, Failed, Scratch, compile_c, cpu_ns, memory_kb
from workloads import connect

# Who is at work beside the others, and how often they take turns.
FEW = 16
TURNS = 4

IDLE_CLIENTS, IDLE_POOLS = 10_000, 5_000
STORM = 2_000
DATABASES, USERS, RELOADS = 2_000, 50_000, 3


class Clients:
    """Clients that have logged in, in a process of their own."""

    def __init__(self, peer, count, databases=1, wave=100):
        program = peer.folder / "clients"
        if not program.exists():
            compile_c("clients", program, "-lcrypto")
        self.count = count
        self.process = subprocess.Popen(
            [str(program), *map(str, (peer.port, count, databases, wave))], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the clients give up: {self.process.stderr.read()[-300:]}")
        return line

    def say(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def log_in_anew(self):
        self.say("again")
        self.read()

    def begin(self):
        self.say("go")

    def end(self):
        """How many answers came, and the median, the 99th percentile and the longest of waits, ms."""
        self.say("stop")
        count, *waits = map(int, self.read().split())
        return count, *(wait / 1000 for wait in waits)

    def ask_for(self, seconds):
        self.begin()
        time.sleep(seconds)
        return self.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)


def logins(peer, seconds):
    """Logins by SCRAM and nothing else, eight at a time."""
    with Clients(peer, 200, wave=8) as clients:
        clients.log_in_anew()
        before, count, begin = cpu_ns(peer.pid), 0, time.monotonic()
        while time.monotonic() - begin < seconds:
            clients.log_in_anew()
            count += clients.count
        took = time.monotonic() - begin
        return {"n": count, "tps": count / took, "cpu_us": spent_us(peer, before, count),
                "memory_kb": memory_kb(peer.pid)}


def busy_crowd(peer, seconds, count):
    """Many busy clients on the servers of sixteen."""
    with Clients(peer, FEW) as few, Clients(peer, count) as many:
        return in_turns([(peer, few), (peer, many)], seconds)


def idle_crowd(peer, seconds):
    """Sixteen busy clients, alone and beside thousands of idle ones and of idle pools."""
    stub = subprocess.Popen([sys.executable, str(Path(__file__).with_name("stub.py"))],
                            stdout=subprocess.PIPE, text=True)
    twin = peer.twin()
    port = int(stub.stdout.readline())
    twin.configure("".join(f"idle{number} = host=127.0.0.1 port={port} dbname=any\n"
                           for number in range(IDLE_POOLS)))
    twin.start()
    try:
        with Clients(twin, IDLE_CLIENTS, IDLE_POOLS), Clients(peer, FEW) as alone, \
                Clients(twin, FEW) as beside:
            return in_turns([(peer, alone), (twin, beside)], seconds)
    finally:
        twin.stop()
        stub.kill()
        stub.wait()


def in_turns(pair, seconds):
    """CPU per query of those in calm and of those beside or in a crowd."""
    costs, rises, counts, late = ([], []), [], 0, []
    for peer, clients in pair:
        clients.ask_for(0.5)
    for _ in range(TURNS):
        for (peer, clients), into in zip(pair, costs):
            before = cpu_ns(peer.pid)
            count, _, p99, _ = clients.ask_for(seconds / TURNS)
            into.append(spent_us(peer, before, count))
        rises.append(costs[1][-1] / costs[0][-1])
        counts += count
        late.append(p99)
    calm, crowded = map(statistics.median, costs)
    return {"n": counts, "tps": counts / seconds, "cpu_us": crowded, "calm_us": calm,
            "rise": statistics.median(rises), "p99_ms": statistics.median(late),
            "memory_kb": memory_kb(pair[1][0].pid)}


def storm(peer, seconds):
    """What sixteen clients at work notice of two thousand that log in at once."""
    with Clients(peer, FEW) as few, Clients(peer, STORM, wave=STORM) as many:
        calm, stormy, took, costs = [], [], [], []
        for _ in range(TURNS):
            calm.append(few.ask_for(seconds / TURNS)[2])
            few.begin()
            begin = time.monotonic()
            many.log_in_anew()
            took.append(time.monotonic() - begin)
            stormy.append(few.end()[2])
        return {"n": STORM, "p99_ms": statistics.median(stormy),
                "calm_p99_ms": statistics.median(calm), "storm_s": statistics.median(took),
                "rise": statistics.median(a / b for a, b in zip(stormy, calm))}


def handshakes(peer, seconds):
    """What others notice of TLS handshakes, which one client makes one after the other: the loop is
    held for the CPU time of each. The peer is stopped when this is called, and is left running."""
    Scratch(peer.folder).certificate()
    peer.configure(settings=CLIENTS_TLS.format(folder=peer.folder, mode="allow"))
    peer.start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Clients(peer, 1) as client:
        shake_hands(peer, context)
        calm = client.ask_for(seconds / 2)[2]
        before, count, end = cpu_ns(peer.pid), 0, time.monotonic() + seconds / 2
        while time.monotonic() < end:
            shake_hands(peer, context)
            count += 1
        cost = spent_us(peer, before, count)
        client.begin()
        end = time.monotonic() + seconds / 2
        while time.monotonic() < end:
            shake_hands(peer, context)
        return {"n": count, "cpu_us": cost, "p99_ms": client.end()[2], "calm_p99_ms": calm}


def shake_hands(peer, context):
    with socket.create_connection(("127.0.0.1", peer.port)) as connection:
        connection.sendall(struct.pack("!II", 8, 80877103))
        if connection.recv(1) != b"S":
            raise Failed("no TLS is offered")
        context.wrap_socket(connection).close()


def many_files(peer, _seconds):
    """Thousands of databases and tens of thousands of users: to start, and to RELOAD. The peer is
    stopped when this is called, and is left running."""
    peer.configure(database_lines(), user_lines())
    begin = time.monotonic()
    peer.start(poll=0.001)
    row = {"n": 1, "start_ms": (time.monotonic() - begin) * 1000,
           "start_cpu_ms": cpu_ns(peer.pid) / 1e6, "memory_kb": memory_kb(peer.pid)}
    with connect(peer, "pgbouncer") as console, Clients(peer, 1) as client:
        row["same_ms"], row["same_stop_ms"] = reloads(peer, console, client, lambda number: None)
        row["changed_ms"], row["changed_stop_ms"] = reloads(
            peer, console, client,
            lambda number: peer.configure(database_lines(number), user_lines(number)))
    row["after_kb"] = memory_kb(peer.pid)
    return row


def reloads(peer, console, client, change):
    """CPU of a RELOAD, and the longest that a client waited for an answer during another."""
    costs, waits = [], []
    for number in range(1, 2 * RELOADS, 2):
        change(number)
        before = cpu_ns(peer.pid)
        reload(console)
        costs.append((cpu_ns(peer.pid) - before) / 1e6)
        change(number + 1)
        client.begin()
        time.sleep(0.1)
        reload(console)
        waits.append(client.end()[3])
    return statistics.median(costs), statistics.median(waits)


def reload(console):
    console.pgconn.exec_(b"RELOAD")
    time.sleep(0.3)  # what is done of it after the answer counts, too


def database_lines(changed=0):
    """With a number, the line of one database is another each time."""
    sizes = {1: 20 + changed}
    return "".join(f"db{number} = host=127.0.0.1 port=5432 dbname=app{number} "
                   f"pool_size={sizes.get(number, 20)}\n" for number in range(DATABASES))


def user_lines(changed=0):
    """Users as pg_authid has them; with a number, the secret of one is another each time."""
    def part(text, size=32):
        return base64.b64encode(hashlib.sha256(text.encode()).digest()[:size]).decode()

    def secret(name):
        return (f"SCRAM-SHA-256$4096:{part(name, 16)}${part(name + 'stored')}:"
                f"{part(name + 'server')}")
    return "".join(f'"user{number}" "{secret(f"{number} {changed if number == 1 else 0}")}"\n'
                   for number in range(USERS))


def spent_us(peer, before, count):
    return (cpu_ns(peer.pid) - before) / max(1, count) / 1000
