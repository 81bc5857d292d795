"""A small program with one listener on a free port."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from compute_common.http.api import ApiResponse, Call, Route
from compute_common.http.limits import ConnectionLimits
from compute_common.http.listener import ListenerSpec
from compute_common.http.router import Router
from compute_common.http.server import HttpServer
from compute_common.http.sockets import TcpAddress

PORT: Final = "port"
HERE: Final = frozenset({PORT})
HELD: Final = b"GET /computes/a/held HTTP/1.1\r\nHost: localhost\r\n\r\n"
PLAIN: Final = b"GET /computes/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
OK: Final = b"HTTP/1.1 200 OK\r\n"
TIMEOUT_S: Final = 10.0


@dataclass(kw_only=True)
class Desk:
    """What the routes of the tests work on, and the metrics."""

    held: int = 0
    """Requests that wait for `release`."""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    callers: list[web.BaseRequest] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def on_http(self, listener: str, code: int) -> None:
        """Ignore it."""

    def on_dropped(self, listener: str, reason: str) -> None:
        """Count it."""
        self.dropped[reason] += 1

    async def authenticate(self, request: web.BaseRequest, found: Route[Any] | ApiResponse) -> str:
        """Name the caller after the parameter in the path."""
        self.callers.append(request)
        if isinstance(found, ApiResponse):
            return "nobody"
        return f"caller of {found.parameters(request.path).get('id')}"


async def echo(call: Call[Desk]) -> ApiResponse:
    """Say who asks for what."""
    return ApiResponse(body=f"{call.who}: {call.path['id']}".encode(), content_type="text/plain")


async def hold(call: Call[Desk]) -> ApiResponse:
    """Answer when released."""
    call.api.held += 1
    try:
        await call.api.release.wait()
    finally:
        call.api.held -= 1
    return ApiResponse(body=b"released")


def route(path: str, run: Any = echo, method: str = "GET") -> Route[Desk]:
    """Return a route of the port."""
    return Route(method=method, path=path, listeners=HERE, run=run, text="", answers={}, quiet=True)


@asynccontextmanager
async def serve(
    *routes: Route[Desk], limits: ConnectionLimits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Desk, int]]:
    """Serve *routes*, or else the usual ones; yield the desk and the port."""
    desk = Desk()
    server = HttpServer(
        program="tester",
        api=desk,
        router=Router(routes or (route("/computes/{id}"), route("/computes/{id}/held", hold))),
        listeners=[
            ListenerSpec(
                name=PORT,
                address=TcpAddress(host="127.0.0.1", port=0),
                authenticate=desk.authenticate,
                limits=limits or ConnectionLimits(),
                tls=tls,
            )
        ],
        metrics=desk,
    )
    await server.start()
    try:
        yield desk, server.ports[PORT]
    finally:
        await server.stop(0.0)


async def connect(stack: AsyncExitStack, port: int, request: bytes = b"") -> asyncio.StreamReader:
    """Open a connection until *stack* is left, and send *request*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.transport.abort)
    writer.write(request)
    return reader


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the other side closes."""
    try:
        return await asyncio.wait_for(reader.read(), TIMEOUT_S)
    except ConnectionError:
        return b""
