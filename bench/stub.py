"""A server that says yes: it lets everybody in, answers each query with nothing, and costs little,
so that thousands of pools can have a server each. Run as `stub.py`, it prints its port."""
import resource
import selectors
import socket
import struct

PARAMETERS = {"server_version": "17.0", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
              "TimeZone": "UTC", "standard_conforming_strings": "on"}


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


READY = message(b"Z", b"I")
DONE = message(b"C", b"SELECT 0\0") + READY
WELCOME = (message(b"R", struct.pack("!I", 0))
           + b"".join(message(b"S", f"{name}\0{value}\0".encode())
                      for name, value in PARAMETERS.items())
           + message(b"K", struct.pack("!II", 1, 1)) + READY)


def answer(connection, is_known):
    """What is to be said to the bytes that have come, or None at the end. A pooler sends each
    message whole, and waits for the answer."""
    data = connection.recv(4096)
    if not data or data[:1] == b"X":
        return None
    return DONE if is_known else WELCOME


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    chosen = selectors.DefaultSelector()
    chosen.register(listener, selectors.EVENT_READ, None)
    print(listener.getsockname()[1], flush=True)
    while True:
        for key, _ in chosen.select():
            if key.fileobj is listener:
                chosen.register(listener.accept()[0], selectors.EVENT_READ, [])
                continue
            said = answer(key.fileobj, bool(key.data))
            if said is None:
                chosen.unregister(key.fileobj)
                key.fileobj.close()
            else:
                key.fileobj.sendall(said)
                key.data.append(True)


if __name__ == "__main__":
    main()
