"""A real HTTP server in place of the daemon: it records what Postgres sends and answers at will.

It listens on loopback TCP or on a Unix socket.  ``hang()`` accepts requests and never answers
them, ``refuse()`` closes the listening socket (the port stays known), ``accept()`` opens it again.
"""

import json
import socketserver
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

from devstack.wait import TIMEOUT_S, wait_until

REFRESH = "/refresh_configuration"
ACK = "/configuration_ack"


@dataclass(frozen=True, kw_only=True)
class Post:
    """One request as it came, with the monotonic time in seconds."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    raw: bytes
    at: float


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one segment, or each answer costs a delayed ACK
    stub: "DaemonStub"

    def do_POST(self) -> None:
        """Record, then answer as told."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.stub.record(
            Post(
                path=self.path,
                headers={key.lower(): value for key, value in self.headers.items()},
                body=json.loads(raw) if raw else {},
                raw=raw,
                at=time.monotonic(),
            )
        )
        answer = self.stub.statuses.get(self.path, 200)
        self.stub.go_on.wait()
        if self.stub.closed:
            self.close_connection = True
            return
        body = b'{"status": "ok"}\n'
        with suppress(OSError):
            self.send_response(answer)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Stay quiet."""

    def address_string(self) -> str:
        """Unix peers have no address."""
        return "peer"


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client may go away at any time."""


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class DaemonStub:
    """The stand-in; use it as a context manager."""

    def __init__(self, unix_path: Path | None = None) -> None:
        self.unix_path = unix_path
        self.posts: list[Post] = []
        self.statuses: dict[str, int] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.closed = False
        self._lock = threading.Lock()
        self._server: _Server | _UnixServer | None = None
        self._port = 0
        self.accept()

    @property
    def endpoint(self) -> str:
        """For neon_refresh.endpoint."""
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """TCP port."""
        return self._port

    def accept(self) -> None:
        """Listen (again)."""
        handler = type("Handler", (_Handler,), {"stub": self})
        if self.unix_path is not None:
            self.unix_path.unlink(missing_ok=True)
            self._server = _UnixServer(str(self.unix_path), handler)
            self.unix_path.chmod(0o777)
        else:
            self._server = _Server(("127.0.0.1", self._port), handler)
            self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def refuse(self) -> None:
        """Close the listening socket."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def hang(self) -> None:
        """Accept requests and do not answer until :meth:`answer`."""
        self.go_on.clear()

    def answer(self) -> None:
        """Answer what hangs and what comes."""
        self.go_on.set()

    def record(self, post: Post) -> None:
        """Take one request."""
        with self._lock:
            self.posts.append(post)

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self.posts.clear()

    def of(self, path: str) -> list[Post]:
        """Return the requests to *path*, oldest first."""
        with self._lock:
            return [post for post in self.posts if post.path == path]

    def wait_for(self, path: str, count: int = 1, timeout: float = TIMEOUT_S) -> list[Post]:
        """Wait until *path* was requested *count* times."""
        wait_until(f"{count} x POST {path}", lambda: len(self.of(path)) >= count, timeout)
        return self.of(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True
        self.go_on.set()
        self.refuse()
