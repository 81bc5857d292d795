"""A control plane that only takes hooks: it notes what came and answers as it is told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "open sesame"


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request."""

    method: str
    path: str
    token: str | None
    text: str

    @property
    def nodes(self) -> list[int]:
        """The node of each shard of a notify-attach."""
        return [shard["node_id"] for shard in json.loads(self.text)["shards"]]


@dataclass(kw_only=True)
class HookReceiver:
    """What came, and the statuses to answer with: first those of `script`, then `default`.

    A request that is answered with `SILENCE` gets no answer until the end.
    """

    SILENCE = 0
    url: str = ""
    script: list[int] = field(default_factory=list)
    default: int = 200
    received: list[Received] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def take(self, request: Received) -> int:
        """Note a request; the status to answer with."""
        self.received.append(request)
        return self.script.pop(0) if self.script else self.default

    @property
    def bodies(self) -> list[Any]:
        """All bodies, decoded."""
        return [json.loads(request.text) for request in self.received]

    @property
    def nodes(self) -> list[list[int]]:
        """The nodes of each notify-attach, as they came."""
        return [one.nodes for one in self.received if one.path.endswith("/notify-attach")]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, receiver: HookReceiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver

    def handle_error(self, *arguments: Any) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        receiver = self.server.receiver
        status = receiver.take(
            Received(
                method=self.command,
                path=self.path,
                token=self.headers["Authorization"],
                text=self.rfile.read(size).decode(),
            )
        )
        if status == receiver.SILENCE:
            receiver.over.wait()
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[HookReceiver]:
    """Run one."""
    receiver = HookReceiver()
    with _Server(receiver) as server:
        receiver.url = "http://{}:{}".format(*server.server_address[:2])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.over.set()
            server.shutdown()
            thread.join()
