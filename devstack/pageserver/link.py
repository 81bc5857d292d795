"""One TCP connection at the byte level: what came in, what goes out, and every way to end it."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

FLUSH_SECONDS = 0.5  # what a goodbye may take to reach the client


class LinkLost(Exception):  # noqa: N818 - the normal end of a connection
    """The client has gone."""


class Link(asyncio.Protocol):
    """Collects bytes for a session and sends what it is given.

    `on_open` is called with the link once it is connected; it runs in the event loop.
    """

    def __init__(self, on_open: Callable[["Link"], None]) -> None:
        self.peer = ""
        self._on_open = on_open
        self._transport: asyncio.Transport  # from connection_made on, before anybody sees us
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._ended = asyncio.Event()  # the client sent FIN or RST
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the socket options of the reference and report for duty."""
        self._transport = cast(asyncio.Transport, transport)
        self._writable.set()
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if peer else ""
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came, unless nobody will ever look at it."""
        if not self._deaf:
            self._received += data
            self._arrived.set()

    def eof_received(self) -> bool:
        """Note the client's FIN; our half stays open, since the reference still answers."""
        self._ended.set()
        self._arrived.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everybody who waits on this link."""
        del exc
        self._ended.set()
        self._arrived.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Stop `send` while the client does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `send` go on."""
        self._writable.set()

    async def receive(self) -> bytes:
        """The bytes that have arrived, at least one. Raises LinkLost after the last."""
        while not self._received:
            if self._ended.is_set():
                raise LinkLost
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._received)
        self._received.clear()
        return data

    async def ended(self) -> None:
        """Wait for the client's end of the connection."""
        await self._ended.wait()

    async def send(self, data: bytes) -> None:
        """Queue bytes, and wait while the client is too slow to take them."""
        if not self._transport.is_closing():
            self._transport.write(data)
        await self._writable.wait()

    async def silence(self, until: asyncio.Event) -> None:
        """Say nothing and hear nothing until the client leaves or `until` is set."""
        self._deaf = True
        waits = [asyncio.ensure_future(event.wait()) for event in (self._ended, until)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def finish(self) -> None:
        """Send what is queued, then FIN."""
        self._transport.close()

    def reset(self) -> None:
        """Drop the connection with RST; what is queued is lost."""
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def abort(self) -> None:
        """Give up at once."""
        self._transport.abort()
