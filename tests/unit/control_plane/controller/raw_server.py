"""Servers that answer with bytes of a test's choice: nonsense, half answers, silence, resets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """A server on a port of its own."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        """What each connection has sent first."""

    @property
    def url(self) -> str:
        """Its address as a URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> str:
        """The head of the last request."""
        return self.requests[-1].partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> Any:
        """The JSON body of the last request."""
        return msgspec.json.decode(self.requests[-1].partition(b"\r\n\r\n")[2])


def http(status: int, body: Any = None, **headers: str) -> bytes:
    """Return an HTTP answer; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()


@asynccontextmanager
async def raw_server(answer: bytes | None, *, then: str = "close") -> AsyncIterator[RawServer]:
    """Serve *answer* to what comes; None: nothing. *then*: `close`, `reset` or `hold`."""
    served = RawServer()
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(1 << 16)
        length = request.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
        while length and len(request.partition(b"\r\n\r\n")[2]) < int(length):
            request += await reader.read(1 << 16)
        served.requests.append(request)
        if answer is not None:
            writer.write(answer)
            with suppress(ConnectionError):
                await writer.drain()
        if then == "hold":
            await ended.wait()
        if then == "reset":
            reset(writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        ended.set()
        server.close()
        await server.wait_closed()
