"""Thousands of computes that hold a long poll each: raw sockets in one process, so that the client
costs little beside the server that is measured.

Each behaves as the daemon does: it asks with the tag of what it has, and when the answer brings
news it reports what it has applied and asks again, over the same connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from functools import lru_cache

from compute_common.document.document import content_hash

WAIT_S = 60
CONNECTING = 128
"""Computes that connect at the same time."""
HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_GENERATION = b'"generation":'


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return an HTTP request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "User-Agent: bench"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Answers(asyncio.Protocol):
    """A connection that gives each answer to `on_answer`: status, head and body."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.on_answer: Callable[[int, bytes, bytes], None] = _ignore
        self.on_lost: Callable[[], None] = _do_nothing
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever uses it."""
        self.on_lost()

    def data_received(self, data: bytes) -> None:
        """Take what came; an answer may come in parts."""
        self._received += data
        while (end := self._received.find(HEAD_END)) >= 0:
            head = self._received[:end].lower()
            status = int(head[9:12])
            found = head.partition(_LENGTH)[2].partition(b"\r\n")[0]
            length = 0 if status == 304 else int(found or 0)
            begin = end + len(HEAD_END)
            if len(self._received) < begin + length:
                return
            body = self._received[begin : begin + length]
            self._received = self._received[begin + length :]
            self.on_answer(status, head, body)


def _ignore(status: int, head: bytes, body: bytes) -> None:
    del status, head, body


def _do_nothing() -> None:
    pass


class Compute:
    """One compute."""

    def __init__(self, fleet: Fleet, compute_id: str) -> None:
        self.last_report = b""
        self.path = f"/compute/api/v2/computes/{compute_id}"
        self.etag = ""
        self.news_at = 0.0
        """When the last document came."""
        self._fleet = fleet
        self._connection: Answers | None = None
        self._reported = asyncio.Event()

    async def connect(self, port: int) -> None:
        """Open the connection, ask for the document and report it."""
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_connection(Answers, "127.0.0.1", port)
        self._connection.on_answer = self._answered
        self._connection.on_lost = lambda: self._fleet.failed(f"{self.path} lost its connection")
        self._send(request("GET", f"{self.path}/spec"))
        await self._reported.wait()

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.on_lost = _do_nothing
            self._connection.transport.abort()

    def _send(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.transport.write(data)

    def _answered(self, status: int, head: bytes, body: bytes) -> None:
        if body.startswith(b"{}"):
            self._fleet.reported += 1
            self._reported.set()
            self._poll()
        elif status == 200:
            self.news_at = time.perf_counter()
            self.etag = head.partition(b"etag: ")[2].partition(b"\r\n")[0].decode()
            self._fleet.updated(self)
            self.last_report = request("POST", f"{self.path}/report", report(body))
            self._send(self.last_report)
        elif status == 304:
            self._poll()
        elif status == 503:
            self._fleet.turned_away += 1
            wait_s = int(head.partition(b"retry-after: ")[2].partition(b"\r\n")[0])
            asyncio.get_running_loop().call_later(wait_s, self._poll)
        else:
            self._fleet.failed(f"HTTP status {status}: {body.decode(errors='replace')}")

    def _poll(self) -> None:
        self._send(
            request("GET", f"{self.path}/spec", If_None_Match=self.etag, Prefer=f"wait={WAIT_S}")
        )


def report(body: bytes) -> bytes:
    """Return the report that a document was applied."""
    before, name, rest = body.partition(_GENERATION)
    digits = len(rest) - len(rest.lstrip(b"0123456789"))
    document = {
        "generation": int(rest[:digits]),
        "hash": _hash(before + name + b"0" + rest[digits:]),
    }
    return json.dumps(
        {
            "daemon": "bench",
            "version": "1",
            "status": "running",
            "desired": document,
            "applied": {**document, "proof": "full"},
            "outcome": "applied",
        }
    ).encode()


@lru_cache
def _hash(body: bytes) -> str:
    """Return the hash of a document, which does not depend on its generation."""
    answer = json.loads(body)
    return content_hash({name: answer[name] for name in ("spec", "compute_ctl_config")})


class Fleet:
    """All computes."""

    def __init__(self, port: int, ids: list[str]) -> None:
        self.computes = [Compute(self, compute_id) for compute_id in ids]
        self.reported = 0
        self.turned_away = 0
        """Polls answered with 503; each comes again when it was told to."""
        self.noted = 0.0
        self._note_at = -1
        self._look: Callable[[], float] = time.perf_counter
        self._port = port
        self._waiting_for = 0
        self._done = asyncio.Event()
        self._failure = ""

    async def connect(self, within_s: float) -> None:
        """Connect all, and wait until each has reported its document."""
        room = asyncio.Semaphore(CONNECTING)

        async def one(compute: Compute) -> None:
            async with room:
                await compute.connect(self._port)

        self.expect(len(self.computes))
        await asyncio.gather(*(one(compute) for compute in self.computes))
        await self.wait(within_s)

    def note_at(self, missing: int, look: Callable[[], float]) -> None:
        """Keep what *look* returns in `noted` when so many documents are missing."""
        self._note_at, self._look = missing, look

    def expect(self, number: int) -> None:
        """Begin to count the documents that come."""
        self._waiting_for = number
        self._done.clear()

    async def wait(self, within_s: float) -> None:
        """Wait until as many documents have come as expected. Raises RuntimeError."""
        try:
            async with asyncio.timeout(within_s):
                await self._done.wait()
        except TimeoutError:
            raise RuntimeError(f"{self._waiting_for} documents are missing") from None
        if self._failure:
            raise RuntimeError(self._failure)

    def updated(self, compute: Compute) -> None:
        """Count a document."""
        del compute
        self._waiting_for -= 1
        if self._waiting_for == self._note_at:
            self.noted = self._look()
        if self._waiting_for == 0:
            self._done.set()

    def failed(self, reason: str) -> None:
        """End the wait."""
        self._failure = reason
        self._done.set()

    def close(self) -> None:
        """Close all connections."""
        for compute in self.computes:
            compute.close()
