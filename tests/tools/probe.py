#!/usr/bin/env python3
"""A tiny PostgreSQL protocol peer, to see byte for byte how a pooler behaves.

It hides nothing and mends nothing: it sends what it is told, legal or not, and
prints each message that comes back, decoded field by field. It knows only the
Python standard library.

As a program, its arguments are steps, run in order:

    probe.py [-h HOST] [-p PORT] [-t SECONDS] STEP...

    ssl | gss                  SSLRequest / GSSENCRequest, prints the one reply byte
    start:K=V,K=V              StartupMessage, protocol 3.0
    start@3.2:K=V,K=V          the same with another version (MAJOR.MINOR)
    login:K=V,K=V              start, then answer the password request with `password`
                               (not sent on) and read up to the first ReadyForQuery
    cancel:PID:KEYHEX          CancelRequest
    Q:SQL                      Query
    P:NAME:SQL  B:PORTAL:STMT[:ARG,..]  DS:NAME  DP:NAME  E:PORTAL  CS:NAME  CP:NAME
    S  H  X                    Sync, Flush, Terminate
    raw:HEX                    these bytes
    msg:T:HEX                  a message of type T with this body
    read                       print until nothing comes for the time-out
    rfq                        print until ReadyForQuery, or the end
    sleep:SECONDS

Example: probe.py -p 6432 login:user=app,database=app,password=app "Q:select 1" rfq

As a module it offers `Wire` (a client), `FakeServer` (a server that a test scripts)
and the functions that build and decode messages.
"""

import base64
import hashlib
import hmac
import os
import socket
import struct
import sys
import threading
import time

PROTOCOL_3_0 = 3 << 16
CANCEL_CODE = 80877102
SSL_CODE = 80877103
GSS_CODE = 80877104

# What the server may send. One byte is not one message for both sides: the client's bytes are in FROM_CLIENT.
FROM_SERVER = {
    b"R": "Authentication", b"S": "ParameterStatus", b"K": "BackendKeyData",
    b"Z": "ReadyForQuery", b"E": "ErrorResponse", b"N": "NoticeResponse",
    b"T": "RowDescription", b"D": "DataRow", b"C": "CommandComplete",
    b"I": "EmptyQueryResponse", b"1": "ParseComplete", b"2": "BindComplete",
    b"3": "CloseComplete", b"t": "ParameterDescription", b"n": "NoData",
    b"s": "PortalSuspended", b"A": "NotificationResponse", b"G": "CopyInResponse",
    b"H": "CopyOutResponse", b"W": "CopyBothResponse", b"c": "CopyDone",
    b"d": "CopyData", b"v": "NegotiateProtocolVersion", b"V": "FunctionCallResponse",
}
FROM_CLIENT = {
    b"Q": "Query", b"P": "Parse", b"B": "Bind", b"D": "Describe", b"E": "Execute",
    b"C": "Close", b"S": "Sync", b"H": "Flush", b"X": "Terminate", b"p": "Password",
    b"d": "CopyData", b"c": "CopyDone", b"f": "CopyFail", b"F": "FunctionCall",
}
AUTH_KINDS = {0: "Ok", 3: "CleartextPassword", 5: "MD5Password", 10: "SASL",
              11: "SASLContinue", 12: "SASLFinal"}


class Closed(Exception):
    """The peer closed the connection; `reset` says that it did so with a reset."""

    def __init__(self, reset=False):
        super().__init__("reset" if reset else "closed")
        self.reset = reset


class Quiet(Exception):
    """Nothing came within the time-out."""


# --- building ---------------------------------------------------------------------------------


def cstr(text):
    """A text, or bytes, with its final zero."""
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


def startup(params, version=PROTOCOL_3_0):
    """`params` is a dict, or a list of pairs where a name is to appear twice."""
    pairs = params.items() if isinstance(params, dict) else params
    body = b"".join(cstr(k) + cstr(v) for k, v in pairs) + b"\0"
    return struct.pack("!ii", len(body) + 8, version) + body


def request(code, body=b""):
    """A startup packet that is no StartupMessage: SSL, GSS, cancel."""
    return struct.pack("!ii", len(body) + 8, code) + body


def query(sql):
    return message(b"Q", cstr(sql))


def parse(name, sql, oids=()):
    return message(b"P", cstr(name) + cstr(sql) + struct.pack(f"!h{len(oids)}i", len(oids), *oids))


def bind(portal, statement, args=()):
    """All arguments and all results in text."""
    body = cstr(portal) + cstr(statement) + struct.pack("!hh", 0, len(args))
    for arg in args:
        data = arg.encode()
        body += struct.pack("!i", len(data)) + data
    return message(b"B", body + struct.pack("!h", 0))


def describe(kind, name=""):
    return message(b"D", kind.encode() + cstr(name))


def execute(portal="", rows=0):
    return message(b"E", cstr(portal) + struct.pack("!i", rows))


def close(kind, name=""):
    return message(b"C", kind.encode() + cstr(name))


SYNC = message(b"S")
FLUSH = message(b"H")
TERMINATE = message(b"X")


# --- decoding ---------------------------------------------------------------------------------


def show(data):
    """Bytes as a short text: what is printable stays, the rest is escaped."""
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in data)


def fields(body):
    """The fields of an ErrorResponse or NoticeResponse, in their order."""
    out = []
    for part in body.split(b"\0"):
        if part:
            out.append((chr(part[0]), part[1:].decode("utf-8", "backslashreplace")))
    return out


def startup_params(body):
    parts = body[:-1].split(b"\0")[:-1] if body.endswith(b"\0") else body.split(b"\0")
    return list(zip(parts[0::2], parts[1::2]))


def columns(body):
    """RowDescription as (name, table oid, attribute, type oid, length, modifier, format)."""
    count, at, out = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        out.append((body[at:end].decode(), *struct.unpack("!ihihih", body[end + 1:end + 19])))
        at = end + 19
    return out


def row(body):
    count, at, out = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(count):
        size = struct.unpack("!i", body[at:at + 4])[0]
        at += 4
        if size < 0:
            out.append(None)
        else:
            out.append(body[at:at + size].decode("utf-8", "backslashreplace"))
            at += size
    return out


def decode(kind, body, names=FROM_SERVER):
    """One line that says all that a message says."""
    name = names.get(kind, "?")
    try:
        return f"{kind.decode('latin1')} {name} {_detail(kind, body, names)}".rstrip()
    except (struct.error, ValueError, IndexError):
        return f"{kind.decode('latin1')} {name} (malformed) {show(body)}"


def _detail(kind, body, names):
    if names is FROM_CLIENT:
        return show(body)
    if kind == b"R":
        code = struct.unpack("!i", body[:4])[0]
        return f"{AUTH_KINDS.get(code, code)} {show(body[4:])}"
    if kind in b"EN":
        return " ".join(f"{k}={v!r}" for k, v in fields(body))
    if kind == b"S":
        key, value = body[:-1].split(b"\0")
        return f"{show(key)}={show(value)!r}"
    if kind == b"K":
        return f"pid={struct.unpack('!i', body[:4])[0]} key[{len(body) - 4}]={body[4:].hex()}"
    if kind == b"T":
        return " ".join(f"{c[0]}:{c[3]}/{c[4]}" for c in columns(body))
    if kind == b"D":
        return "|".join("<null>" if v is None else v for v in row(body))
    if kind == b"v":
        minor, count = struct.unpack("!ii", body[:8])
        return f"minor={minor & 0xffff} major={minor >> 16} options[{count}]={show(body[8:])}"
    return show(body)


# --- the client -------------------------------------------------------------------------------


class Wire:
    """One connection. `read` gives (kind, body); the `*_all` forms give printed lines."""

    def __init__(self, host="127.0.0.1", port=6432, timeout=5.0):
        family = socket.AF_UNIX if host.startswith("/") else socket.AF_INET
        self.sock = socket.socket(family)
        self.sock.settimeout(timeout)
        self.sock.connect(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))
        self.pending = b""
        self.pid, self.key = 0, b""

    def send(self, data):
        self.sock.sendall(data)

    def byte(self):
        """The bare answer to an SSLRequest or GSSENCRequest."""
        self._fill(1)
        out, self.pending = self.pending[:1], self.pending[1:]
        return out

    def read(self):
        self._fill(5)
        kind, size = self.pending[:1], struct.unpack("!i", self.pending[1:5])[0]
        self._fill(size + 1)
        body, self.pending = self.pending[5:size + 1], self.pending[size + 1:]
        if kind == b"K":
            self.pid, self.key = struct.unpack("!i", body[:4])[0], body[4:]
        return kind, body

    def read_all(self, until=b"", wait=None):
        """Lines until a message of the kind `until`, silence for `wait` seconds, or the end."""
        if wait is not None:
            self.sock.settimeout(wait)
        lines = []
        while True:
            try:
                kind, body = self.read()
            except Quiet:
                return lines + ["(quiet)"] if until else lines
            except Closed as end:
                return lines + [f"({end})"]
            lines.append(decode(kind, body))
            if until and kind in until:
                return lines

    def ask(self, data, wait=None):
        """Send, and give the lines up to ReadyForQuery or the end."""
        try:
            self.send(data)
        except OSError:
            pass
        return self.read_all(b"Z", wait)

    def login(self, user, database=None, password="", version=PROTOCOL_3_0, extra=()):
        """The whole login; gives the printed lines, up to ReadyForQuery or the end."""
        params = [("user", user)] + ([("database", database)] if database is not None else [])
        self.send(startup(params + list(extra), version))
        lines, scram = [], None
        while True:
            try:
                kind, body = self.read()
            except Quiet:
                return lines + ["(quiet)"]
            except Closed as end:
                return lines + [f"({end})"]
            lines.append(decode(kind, body))
            if kind == b"Z":
                return lines
            if kind == b"R":
                scram = self._authenticate(body, user, password, scram)

    def _authenticate(self, body, user, password, scram):
        code, rest = struct.unpack("!i", body[:4])[0], body[4:]
        if code == 3:
            self.send(message(b"p", cstr(password)))
        elif code == 5:
            self.send(message(b"p", cstr(md5_answer(user, password, rest))))
        elif code == 10:
            scram = Scram(password)
            first = scram.first()
            self.send(message(b"p", cstr("SCRAM-SHA-256") + struct.pack("!i", len(first)) + first))
        elif code == 11:
            self.send(message(b"p", scram.final(rest)))
        return scram

    def end(self):
        self.sock.close()

    def _fill(self, size):
        while len(self.pending) < size:
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                raise Quiet from None
            except OSError:
                raise Closed(reset=True) from None
            if not data:
                raise Closed
            self.pending += data


def md5_answer(user, password, salt):
    inner = hashlib.md5((password + user).encode()).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt).hexdigest()


class Scram:
    """SCRAM-SHA-256 as the client does it, RFC 5802, without channel binding."""

    def __init__(self, password):
        self.password, self.nonce = password, base64.b64encode(os.urandom(18)).decode()

    def first(self):
        return f"n,,n=,r={self.nonce}".encode()

    def final(self, server_first):
        parts = dict(p.split("=", 1) for p in server_first.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(),
                                     base64.b64decode(parts["s"]), int(parts["i"]))
        bare = f"c=biws,r={parts['r']}"
        signed = f"n=,r={self.nonce},{server_first.decode()},{bare}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()


# --- the server -------------------------------------------------------------------------------


class FakeServer:
    """Listens, and runs `script(conn)` for each connection in a thread of its own.

    `conn` has `startup()` (code and parameters of the first packet), `read()`, `send()`, and
    `received`, the printed lines of all that came. The default script logs anyone in and answers each
    Query with an empty CommandComplete.
    """

    def __init__(self, script=None, port=0):
        self.script = script or accept_everything
        self.connections = []
        self.sock = socket.create_server(("127.0.0.1", port))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        """A plain close would leave the thread in accept, and the port open."""
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _serve(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            conn = Accepted(sock)
            self.connections.append(conn)
            threading.Thread(target=self._run, args=(conn,), daemon=True).start()

    def _run(self, conn):
        try:
            self.script(conn)
        except (Closed, Quiet, OSError) as end:
            conn.received.append(f"({end})")


class Accepted(Wire):
    """The server's side of one connection."""

    def __init__(self, sock):
        self.sock, self.pending, self.received = sock, b"", []
        self.pid, self.key = 0, b""

    def startup(self):
        self._fill(8)
        size, code = struct.unpack("!ii", self.pending[:8])
        self._fill(size)
        body, self.pending = self.pending[8:size], self.pending[size:]
        params = startup_params(body) if code >> 16 == 3 else body
        self.received.append(f"startup {code >> 16}.{code & 0xffff} {params}")
        return code, params

    def read(self):
        kind, body = super().read()
        self.received.append(decode(kind, body, FROM_CLIENT))
        return kind, body


def greet(conn, parameters=None, pid=4711, key=b"KEY!"):
    """Refuse TLS, take the StartupMessage, and let the client in."""
    code, params = conn.startup()
    while code in (SSL_CODE, GSS_CODE):
        conn.send(b"N")
        code, params = conn.startup()
    conn.send(message(b"R", struct.pack("!i", 0)))
    defaults = {"server_version": "15.0", "server_encoding": "UTF8", "client_encoding": "UTF8",
                "DateStyle": "ISO, MDY", "TimeZone": "UTC", "standard_conforming_strings": "on"}
    for name, value in (defaults if parameters is None else parameters).items():
        conn.send(message(b"S", cstr(name) + cstr(value)))
    conn.send(message(b"K", struct.pack("!i", pid) + key))
    conn.send(message(b"Z", b"I"))
    return params


def accept_everything(conn):
    greet(conn)
    while True:
        kind, _ = conn.read()
        if kind == b"X":
            return
        if kind == b"Q":
            conn.send(message(b"C", cstr("SELECT 0")) + message(b"Z", b"I"))
        if kind == b"S":
            conn.send(message(b"Z", b"I"))


# --- the program ------------------------------------------------------------------------------


def pairs(text):
    return [tuple(p.split("=", 1)) for p in text.split(",") if p]


def step(wire, word):
    name, _, rest = word.partition(":")
    name, _, version = name.partition("@")
    plain = {"S": SYNC, "H": FLUSH, "X": TERMINATE}
    if name in ("ssl", "gss"):
        wire.send(request(SSL_CODE if name == "ssl" else GSS_CODE))
        return [show(wire.byte())]
    if name == "start":
        major, minor = (version or "3.0").split(".")
        return wire.send(startup(pairs(rest), int(major) << 16 | int(minor)))
    if name == "login":
        params = dict(pairs(rest))
        password = params.pop("password", "")
        return wire.login(params.pop("user"), params.pop("database", None), password,
                          extra=params.items())
    if name == "cancel":
        pid, key = rest.split(":")
        return wire.send(request(CANCEL_CODE, struct.pack("!i", int(pid)) + bytes.fromhex(key)))
    if name in plain:
        return wire.send(plain[name])
    if name == "Q":
        return wire.send(query(rest))
    if name == "P":
        return wire.send(parse(*rest.split(":", 1)))
    if name == "B":
        parts = rest.split(":", 2)
        return wire.send(bind(parts[0], parts[1], parts[2].split(",") if len(parts) > 2 else ()))
    if name in ("DS", "DP"):
        return wire.send(describe(name[1], rest))
    if name in ("CS", "CP"):
        return wire.send(close(name[1], rest))
    if name == "E":
        return wire.send(execute(rest))
    if name == "raw":
        return wire.send(bytes.fromhex(rest))
    if name == "msg":
        kind, _, body = rest.partition(":")
        return wire.send(message(kind.encode(), bytes.fromhex(body)))
    if name == "read":
        return wire.read_all()
    if name == "rfq":
        return wire.read_all(b"Z")
    if name == "sleep":
        return time.sleep(float(rest))
    raise SystemExit(f"probe.py: unknown step {word!r}")


def main(argv):
    options = {"-h": "127.0.0.1", "-p": "6432", "-t": "2"}
    while len(argv) > 1 and argv[0] in options:
        options[argv[0]], argv = argv[1], argv[2:]
    if not argv:
        raise SystemExit(__doc__)
    wire = Wire(options["-h"], int(options["-p"]), float(options["-t"]))
    for word in argv:
        try:
            for line in step(wire, word) or []:
                print(line)
        except (Closed, Quiet, OSError) as end:
            print(f"({end or 'quiet'})")


if __name__ == "__main__":
    main(sys.argv[1:])
