"""A daemon of a few lines: a listening socket whose connections a function serves."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Serve = Callable[[socket.socket, "Daemon"], None]
DEADLINE_S = 10.0


@dataclass
class Daemon:
    """What the daemon has seen so far."""

    endpoint: str
    requests: list[bytes] = field(default_factory=list)
    """Head and body of each, in order."""
    connections: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    """Set when the test is over: ends a silence."""

    def read_request(self, connection: socket.socket) -> bytes:
        """Return one request, b"" at the end of the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(4096)
            if not part:
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            body += connection.recv(4096)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]


def answer(text: bytes, *, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """Return an HTTP answer that keeps the connection."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(text), headers, text)


def always(reply: bytes) -> Serve:
    """Answer each request with the same bytes."""

    def serve(connection: socket.socket, daemon: Daemon) -> None:
        while daemon.read_request(connection):
            connection.sendall(reply)

    return serve


def silent(connection: socket.socket, daemon: Daemon) -> None:
    """Take a request and never answer."""
    daemon.read_request(connection)
    daemon.released.wait(DEADLINE_S)


def once(reply: bytes) -> Serve:
    """Answer one request and close."""

    def serve(connection: socket.socket, daemon: Daemon) -> None:
        daemon.read_request(connection)
        connection.sendall(reply)

    return serve


def _accept(listener: socket.socket, daemon: Daemon, serve: Serve) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        daemon.connections += 1
        connection.settimeout(DEADLINE_S)
        threading.Thread(target=_serve, args=(connection, daemon, serve)).start()


def _serve(connection: socket.socket, daemon: Daemon, serve: Serve) -> None:
    with connection:
        try:
            serve(connection, daemon)
        except OSError:
            return  # the client went away, which some tests want


@contextmanager
def running(serve: Serve, *, path: Path | None = None) -> Iterator[Daemon]:
    """Serve on a free port of loopback, or on a unix socket."""
    listener = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
    listener.bind(("127.0.0.1", 0) if path is None else str(path))
    listener.listen()
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}" if path is None else f"unix:{path}"
    daemon = Daemon(endpoint=endpoint)
    thread = threading.Thread(target=_accept, args=(listener, daemon, serve))
    thread.start()
    try:
        yield daemon
    finally:
        daemon.released.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE_S)
