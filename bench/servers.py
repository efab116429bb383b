"""What a measurement runs against: a throw-away PostgreSQL, and the poolers side by side.

Servers run as an unprivileged user when we are root, in a scratch folder that is removed at the
end, on ports that were free.
"""
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROLE = PASSWORD = DATABASE = "bench"
SCALE = 10

# Limits are out of the way: the crowd, the idle clients and their servers must all fit.
POSTGRESQL = """
listen_addresses = '127.0.0.1'
max_connections = 1100
shared_buffers = 256MB
password_encryption = 'scram-sha-256'
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
"""

POOLER = """[databases]
{database} = host=127.0.0.1 port={server_port} dbname={database}
{databases}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {userlist}
pool_mode = transaction
default_pool_size = 20
max_client_conn = 12000
admin_users = {database}
log_connections = 0
log_disconnections = 0
log_stats = 0
"""

PAGES = """metrics_listen_addr = 127.0.0.1
metrics_listen_port = {port}
"""

# What is added where clients come under TLS, and where servers are asked for it. Without the second
# the default would use it if it were there.
CLIENTS_TLS = """client_tls_sslmode = {mode}
client_tls_key_file = {folder}/tls.key
client_tls_cert_file = {folder}/tls.crt
"""
SERVERS_TLS = "server_tls_sslmode = {mode}\n"


class Tls:
    """Who is under TLS: nobody, clients, or both sides."""

    WORDS = ["none", "clients", "both"]

    def __init__(self, word="none"):
        self.clients, self.servers = word != "none", word == "both"

    def settings(self, folder):
        clients = CLIENTS_TLS.format(folder=folder, mode="require") if self.clients else ""
        return clients + SERVERS_TLS.format(mode="require" if self.servers else "disable")


# Set once, before anything is started: what clients ask for follows from it. Processes of idle
# clients read it from their environment.
TLS = Tls(os.environ.get("BENCH_TLS", "none"))


class Failed(Exception):
    """A server or a client did not do what it should."""


def account():
    """The user that servers run as, or None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise Failed("there is neither a user postgres nor a user nobody")


def as_server():
    """Arguments that make subprocess drop to the user that servers run as."""
    who = account()
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process, log, poll=0.02):
    end = time.monotonic() + 300
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(poll)
    raise Failed(f"{process.args[0]} does not listen: {log.read_text()[-800:]}")


def program(name):
    """A program of PostgreSQL, Debian's newest or the one in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
                   key=lambda path: int(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name) or name


class Scratch:
    """A folder that servers may write to; gone at the end."""

    def __init__(self, path=None):
        self.path = path or Path(tempfile.mkdtemp(prefix="pooler-bench-"))
        self.give_away(self.path)

    def give_away(self, path):
        if who := account():
            os.chown(path, who.pw_uid, who.pw_gid)
        return path

    def write(self, name, text):
        path = self.path / name
        path.write_text(text)
        return self.give_away(path)

    def certificate(self):
        """A key on P-256 and a certificate that it signs itself."""
        key, crt = self.write("tls.key", ""), self.write("tls.crt", "")
        run(["openssl", "req", "-new", "-x509", "-days", "30", "-nodes", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost", "-keyout", str(key),
             "-out", str(crt)])
        key.chmod(0o600)

    def copy(self, program):
        """A copy of a program where the user that servers run as can reach it."""
        path = self.path / f"program-{Path(program).name}-{len(list(self.path.iterdir()))}"
        shutil.copy(program, path)
        path.chmod(0o755)
        return str(path)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class PostgreSQL:
    def __init__(self, scratch):
        self.port = free_port()
        data = scratch.path / "data"
        run([program("initdb"), "-U", "super", "-A", "trust", "-E", "UTF8", "--locale=C", "-N",
             "-D", str(data)], **as_server())
        (data / "pg_hba.conf").write_text(
            f"local all all trust\nhost all super 127.0.0.1/32 trust\n"
            f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n")
        with open(data / "postgresql.conf", "a") as conf:
            conf.write(f"{POSTGRESQL}\nport = {self.port}\n"
                       f"unix_socket_directories = '{scratch.path}'\n")
            if TLS.servers:
                conf.write(f"ssl = on\nssl_cert_file = '{scratch.path}/tls.crt'\n"
                           f"ssl_key_file = '{scratch.path}/tls.key'\n")
        log = scratch.write("postgresql.log", "")
        with open(log, "a") as out:
            self.process = subprocess.Popen(
                [program("postgres"), "-D", str(data)], stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=True, **as_server())
        wait_for_port(self.port, self.process, log)

    def fill(self):
        psql = [program("psql"), "-X", "-q", "-h", "127.0.0.1", "-p", str(self.port),
                "-U", "super", "-d", "postgres"]
        end = time.monotonic() + 300
        while subprocess.run([*psql, "-c", "select 1"], capture_output=True).returncode:
            if time.monotonic() > end:
                raise Failed("PostgreSQL does not accept connections")
            time.sleep(0.05)
        run([*psql, "-c", f"create role {ROLE} login password '{PASSWORD}'",
             "-c", f"create database {DATABASE} owner {ROLE}"])
        run([program("pgbench"), "-i", "-q", "-s", str(SCALE), DATABASE],
            env=dict(login(self.port), PGSSLMODE="prefer"))

    def stop(self):
        stop(self.process, signal.SIGINT)


class Peer:
    """What clients connect to: a pooler, the floor, or PostgreSQL itself."""

    def __init__(self, name, port, command=None, folder=None, banner="", watched=None,
                 postgres_port=None, more=""):
        self.name, self.port, self.command, self.folder = name, port, command, folder
        self.banner, self.postgres_port = banner, postgres_port
        self.process = None
        # Settings beside those that all poolers have.
        self.more = more
        # The port of its pages, which are looked at as long as it runs.
        self.watched, self.watch = watched, None

    def start(self, poll=0.02):
        if not self.command:
            return
        log = self.folder / f"{self.name}.log"
        with open(log, "a") as out:
            self.process = subprocess.Popen(
                self.command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.folder,
                start_new_session=True, **as_server())
        wait_for_port(self.port, self.process, log, poll)
        if self.watched:
            self.watch = Watch(self.watched)

    def stop(self):
        seen, self.watch = self.watch, None
        if seen:
            seen.end()
        if self.process:
            stop(self.process, signal.SIGQUIT)
        self.process = None

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def configure(self, databases="", users="", settings=""):
        """Writes the pooler's files: beside the one database and the one user, these lines."""
        scratch = Scratch(self.folder)
        userlist = scratch.write(f"{self.name}-userlist.txt", f'"{ROLE}" "{PASSWORD}"\n{users}')
        scratch.write(f"{self.name}.ini", POOLER.format(
            database=DATABASE, server_port=self.postgres_port, port=self.port, userlist=userlist,
            databases=databases)
            + TLS.settings(self.folder)
            + (PAGES.format(port=self.watched) if self.watched else "") + self.more + settings)

    def twin(self):
        """Another process of the same program, on a port of its own."""
        name = f"{self.name}-twin"
        command = [*self.command[:-1], str(self.folder / f"{name}.ini")]
        twin = Peer(name, free_port(), command, self.folder, self.banner,
                    postgres_port=self.postgres_port)
        twin.configure()
        return twin

    @property
    def tracks_statements(self):
        """True when statements prepared by name survive transaction pooling."""
        found = re.search(r"PgBouncer (\d+)\.(\d+)", self.banner)
        return not found or (int(found[1]), int(found[2])) >= (1, 21)


class Watch:
    """A scrape each second, and the page open in a browser, which asks every 5 seconds."""

    def __init__(self, port):
        self.port, self.is_over, self.failure = port, threading.Event(), None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        second = 0
        while True:
            try:
                self.get("/metrics")
                if second % 5 == 0:
                    self.get("/status.json")
            except OSError as error:
                self.failure = error
            second += 1
            if self.is_over.wait(1):
                return

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            if not answer.read():
                raise OSError(f"{path} is empty")

    def end(self):
        self.is_over.set()
        self.thread.join()
        if self.failure:
            raise Failed(f"the pages cannot be read: {self.failure}")


def pooler(name, command, scratch, postgres, watched=None, more=""):
    """A pooler by its command line, to which an ini is added."""
    command = [scratch.copy(command[0]), *command[1:]]
    shown = run([*command, "--version"]).split("\n")
    banner = ", ".join(line for line in shown[:2] if line.startswith(("PgBouncer", "pgbouncer")))
    found = Peer(name, free_port(), [*command, str(scratch.path / f"{name}.ini")], scratch.path,
                 banner, watched, postgres.port, more)
    found.configure()
    return found


def floor(scratch, postgres):
    port = free_port()
    relay = scratch.path / "relay"
    compile_c("relay", relay)
    return Peer("floor", port, [str(relay), str(port), str(postgres.port)], scratch.path,
                "bytes passed on unread")


def compile_c(name, into, *libraries):
    run(["cc", "-O2", "-Wall", "-o", str(into), str(HERE / f"{name}.c"), *libraries])


def login(port):
    """The environment of a client of the database."""
    return dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(port), PGUSER=ROLE,
                PGPASSWORD=PASSWORD, PGDATABASE=DATABASE,
                PGSSLMODE="require" if TLS.clients else "disable", PGSSLCERT="/nonexistent")


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stdout[-400:]}{done.stderr[-400:]}")
    return done.stdout + done.stderr


def stop(process, how):
    process.send_signal(how)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def family(pid):
    """A process and all below it."""
    if pid is None:
        return
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def cpu_ns(pid):
    schedules = (task for process in family(pid)
                 for task in Path(f"/proc/{process}/task").glob("*/schedstat"))
    return sum(int(schedule.read_text().split()[0]) for schedule in schedules)


def memory_kb(pid, what="Pss"):
    """What the process and those below it hold of memory, shared pages by their share."""
    total = 0
    for process in family(pid):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        total += int(re.search(rf"^{what}:\s+(\d+)", rollup, re.M)[1])
    return total
