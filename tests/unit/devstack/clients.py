"""Clients for the stand-ins: libpq through psycopg's wrapper, and a raw socket for exact bytes.

Every wait has a bound and fails loudly, so that a silent server is an assertion, not a hang.
"""

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from psycopg import OperationalError, pq

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
TIMELINE = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
NEWEST = (1 << 64) - 1
TIMEOUT = 5.0
REL = struct.pack("!IIIB", 1663, 5, 16384, 0)

# the head of every answer to the requests below, and the right answer to getpage()
GOOD_PAGE = struct.pack("!BQQQ", 102, 1, NEWEST, 1) + REL + struct.pack("!I", 0) + b"a" * 8192
QUIET = 0.1  # long enough to see that an answer that comes in a millisecond does not come
GONE = "server closed the connection unexpectedly"
HEAD = struct.pack("!QQQ", 1, NEWEST, 1)
RECONNECT = ("08006", "reconnect")
SHUTDOWN = ("57P01", "shutdown")
NOT_FOUND = ("XX000", "not found")
OTHER = "11111111111111111111111111111111"

READING = pq.PollingStatus.READING
OK = pq.PollingStatus.OK
FAILED = pq.PollingStatus.FAILED


def getpage(blkno: int = 0, *, rel: bytes = REL, reqid: int = 1, lsn: int = 1) -> bytes:
    """A version 3 page request that needs WAL up to `lsn`."""
    return struct.pack("!BQQQ", 2, reqid, NEWEST, lsn) + rel + struct.pack("!I", blkno)


def nblocks(*, rel: bytes = REL, reqid: int = 1) -> bytes:
    """A version 3 request for a fork's length."""
    return struct.pack("!BQQQ", 1, reqid, NEWEST, 1) + rel


class SilenceError(AssertionError):
    """The server said nothing in time."""


class StreamClient:
    """A libpq connection in a page stream."""

    def __init__(self, conninfo: str, *, login: bool = True, query: bool = True) -> None:
        self.pg = pq.PGconn.connect_start(f"{conninfo}?sslmode=prefer".encode())
        if login:
            status = self.log_in()
            assert OK == status, self.pg.error_message
            if query:
                result = self.query(f"pagestream_v3 {TENANT} {TIMELINE}")
                assert result.status == pq.ExecStatus.COPY_BOTH, result.error_message

    def log_in(self, timeout: float = TIMEOUT) -> pq.PollingStatus:
        """Drive the handshake to its end. Raises SilenceError."""
        deadline = time.monotonic() + timeout
        status = pq.PollingStatus.WRITING
        while status not in (OK, FAILED):
            wanted = [self.pg.socket]
            remaining = max(0.0, deadline - time.monotonic())
            reads = wanted if status == READING else []
            writes = [] if status == READING else wanted
            if not any(select.select(reads, writes, [], remaining)):
                raise SilenceError("in the handshake")
            status = pq.PollingStatus(self.pg.connect_poll())
        return status

    def query(self, text: str, timeout: float = TIMEOUT) -> "pq.abc.PGresult":
        """Send a simple query; its first result. Raises SilenceError."""
        self.pg.send_query(text.encode())
        self._wait(lambda: not self.pg.is_busy(), timeout)
        result = self.pg.get_result()
        assert result is not None
        return result

    def send(self, payload: bytes) -> None:
        """Send one request."""
        self.pg.put_copy_data(payload)
        self.pg.flush()

    def receive(self, timeout: float = TIMEOUT) -> bytes | None:
        """The next answer, or None when the copy has ended (libpq's -1).

        Raises SilenceError, and OperationalError where libpq found the connection broken.
        """
        answer: list[tuple[int, bytes]] = []

        def arrived() -> bool:
            answer.append(self._take())
            return answer[-1][0] != 0

        self._wait(arrived, timeout)
        size, data = answer[-1]
        return None if size < 0 else data

    def _take(self) -> tuple[int, bytes]:
        size, data = self.pg.get_copy_data(1)
        return size, bytes(data)

    def ask(self, payload: bytes) -> bytes | None:
        """Send a request, receive its answer."""
        self.send(payload)
        return self.receive()

    @property
    def broken(self) -> bool:
        """Whether libpq has given the connection up."""
        return self.pg.status == pq.ConnStatus.BAD

    def results(self, limit: int = 10) -> list[tuple[str | None, str]]:
        """What PQgetResult tells: (SQLSTATE, primary message or libpq's own), until NULL."""
        told: list[tuple[str | None, str]] = []
        while True:
            with suppress(OperationalError):  # the end of the connection is itself a result
                self._wait(lambda: not self.pg.is_busy())
            result = self.pg.get_result()
            if result is None:
                return told
            state = result.error_field(pq.DiagnosticField.SQLSTATE)
            primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
            text = primary or result.error_message
            told.append((state.decode() if state else None, text.decode()))
            if len(told) == limit:
                return told

    def _wait(self, done: Callable[[], bool], timeout: float = TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not done():
            remaining = max(0.0, deadline - time.monotonic())
            if not select.select([self.pg.socket], [], [], remaining)[0]:
                raise SilenceError(f"nothing within {timeout:g} s")
            self.pg.consume_input()

    def close(self) -> None:
        """Leave."""
        self.pg.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawClient:
    """A socket that speaks the protocol byte by byte."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=TIMEOUT)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer at the end of the connection."""
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                break
            data += chunk
        return data

    def drain(self) -> bytes:
        """All bytes up to the server's FIN; ConnectionResetError for RST."""
        data = b""
        while chunk := self.socket.recv(65536):
            data += chunk
        return data

    def silent_for(self, seconds: float) -> bool:
        """Whether neither a byte nor the end comes within `seconds`."""
        return not select.select([self.socket], [], [], seconds)[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def error(text: str) -> bytes:
    """The in-band error answer."""
    return b"\x67" + HEAD + text.encode() + b"\0"


def assert_closed(client: StreamClient, reason: tuple[str, str]) -> None:
    """The stream ended for `reason`, and then the server was gone."""
    assert client.receive() is None
    first, second = client.results()
    assert first == reason
    assert second[0] is None
    assert second[1].startswith(GONE)


def assert_healthy(url: str) -> None:
    """A new client gets a right page."""
    with StreamClient(url) as client:
        assert GOOD_PAGE == client.ask(getpage())
