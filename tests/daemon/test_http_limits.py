"""Silent, slow and greedy clients, by raw sockets."""

import asyncio
import os
import resource
import socket
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from compute_common.http.limits import ConnectionLimits
from compute_ctl.http.api import Listener
from devstack.wait import until
from tests.daemon.api import Wire, serve

SHORT = ConnectionLimits(header=0.1, body=0.1, idle=0.1)
SLOW_CLIENTS = 200


def dropped(text: bytes, reason: str) -> bool:
    """Whether the metrics have counted a connection closed for *reason*."""
    wanted = f'compute_ctl_http_dropped_connections_total{{door="loopback",reason="{reason}"}}'
    return wanted.encode() in text


async def test_200_slow_clients_do_not_delay_a_probe(tmp_path: Path) -> None:
    """With 200 silent or dribbling connections open, /livez answers long before their deadline."""
    patient = ConnectionLimits(header=60.0, idle=60.0)
    async with serve(tmp_path, limits=patient) as served, AsyncExitStack() as stack:
        wires = [
            await stack.enter_async_context(Wire.tcp(served.port)) for _ in range(SLOW_CLIENTS)
        ]
        for wire in wires[::2]:
            wire.writer.write(b"POST /refresh_configuration HTTP/1.1\r\nX-Slow")
        for _ in range(10):
            for wire in wires[::2]:
                if not wire.writer.is_closing():
                    wire.writer.write(b"y")
            begin = time.monotonic()
            reply = await served.loopback("GET", "/livez")
            assert (200, True) == (reply.code, time.monotonic() - begin < 20)


async def test_probe_gets_in_past_slow_bodies(tmp_path: Path) -> None:
    """Connections whose body does not come make room, too."""
    head = (
        b"POST /configuration_ack HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    )
    async with (
        serve(tmp_path, limits=ConnectionLimits(connections=8, body=60.0)) as served,
        AsyncExitStack() as stack,
    ):
        for _ in range(8):
            wire = await stack.enter_async_context(Wire.tcp(served.port))
            wire.writer.write(head)
        assert 200 == (await served.loopback("GET", "/livez")).code


async def test_busy_connections_are_not_pushed_out(tmp_path: Path) -> None:
    """A caller who waits for an outcome keeps its connection; the next one waits for its place."""
    async with serve(tmp_path, limits=ConnectionLimits(connections=1)) as served:
        waiting = asyncio.create_task(served.loopback("POST", "/refresh_configuration?wait=0.3"))
        await served.requested()
        next_one = asyncio.create_task(served.loopback("GET", "/livez"))
        assert "timeout" == (await waiting).json["outcome"]
        assert 200 == (await next_one).code


async def test_no_room_for_long_is_told(tmp_path: Path) -> None:
    """Where all are at work for as long as a header may take, the newcomer is closed."""
    limits = ConnectionLimits(connections=1, header=0.2)
    async with serve(tmp_path, limits=limits) as served:
        waiting = asyncio.create_task(served.loopback("POST", "/refresh_configuration?wait=30"))
        await served.requested()
        async with Wire.tcp(served.port) as wire:
            assert await wire.closed(20)
        assert dropped((await served.socket("GET", "/metrics")).body, "full")
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_a_flood_pushes_out_no_request(tmp_path: Path) -> None:
    """Of many connections at a time none takes the place of one whose request has come."""
    async with (
        serve(tmp_path, limits=ConnectionLimits(connections=8)) as served,
        AsyncExitStack() as stack,
    ):

        async def silent() -> None:
            await stack.enter_async_context(Wire.tcp(served.port))

        async def ask() -> int:
            return (await served.loopback("POST", "/refresh_configuration")).code

        for _ in range(5):
            callers = [*(silent() for _ in range(15)), ask(), *(silent() for _ in range(15))]
            answers = await asyncio.gather(*callers)
            assert 200 == answers[15]


async def test_want_of_descriptors_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a traceback for each connection that waits, nor a busy loop; then it goes on."""
    async with serve(tmp_path) as served:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as caller:
            caller.setblocking(False)
            lowest = os.dup(caller.fileno())  # the next one that would be used
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                with suppress(BlockingIOError):
                    caller.connect(("127.0.0.1", served.port))
                await until(
                    "the failure to be told", lambda: "too many open" in caplog.text.lower()
                )
                await asyncio.sleep(1.0)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert caplog.text.lower().count("too many open") <= 4  # one for each listening socket
            assert 200 == (await served.loopback("GET", "/livez")).code


async def test_silent_client_is_closed(tmp_path: Path) -> None:
    """Who connects and says nothing is closed, and counted."""
    async with serve(tmp_path, limits=SHORT) as served:
        async with Wire.tcp(served.port) as wire:
            assert await wire.closed(20)
        assert dropped((await served.loopback("GET", "/metrics")).body, "slow")


async def test_slow_header_is_closed(tmp_path: Path) -> None:
    """A byte now and then does not prolong the time for a header."""
    async with serve(tmp_path, limits=SHORT) as served, Wire.tcp(served.port) as wire:
        begin = time.monotonic()
        wire.writer.write(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        closing = asyncio.create_task(wire.closed(20))
        while not closing.done():
            wire.writer.write(b"y")
            await asyncio.wait([closing], timeout=0.02)
        assert closing.result()
        assert time.monotonic() - begin < 10


async def test_slow_body_is_408(tmp_path: Path) -> None:
    """A body that does not come is told so."""
    async with serve(tmp_path, limits=SHORT) as served, Wire.tcp(served.port) as wire:
        headers = {"Content-Length": "5", "Content-Type": "application/json"}
        reply = await wire.ask("POST", "/refresh_configuration", headers=headers)
        assert 408 == reply.code
        assert await wire.closed(3)


async def test_idle_connection_is_closed(tmp_path: Path) -> None:
    """A connection may be used again, but not kept for nothing."""
    async with serve(tmp_path, limits=SHORT) as served, Wire.tcp(served.port) as wire:
        assert 200 == (await wire.ask("GET", "/livez")).code
        assert 200 == (await wire.ask("GET", "/livez")).code
        assert await wire.closed(20)


async def test_client_that_does_not_read_is_closed(tmp_path: Path) -> None:
    """Answers that nobody takes do not hold a connection for longer than the idle limit."""
    async with serve(tmp_path, limits=SHORT) as served, Wire.tcp(served.port) as wire:
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream's, private
        wire.writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)
        loopback = served.http._open[Listener.LOOPBACK].server
        await until("it is counted", lambda: dropped(served.exposition(), "slow"))
        await until("the socket is closed", lambda: not loopback.connections)


async def test_a_connection_ends_after_a_bad_request(tmp_path: Path) -> None:
    """What is announced comes true: a client that reads to the end need not wait for idleness."""
    async with serve(tmp_path) as served, Wire.tcp(served.port) as wire:
        reply = await wire.ask(
            "POST",
            "/refresh_configuration",
            body=b"{nonsense",
            headers={"Content-Type": "application/json"},
        )

        assert (400, "close") == (reply.code, reply.headers["connection"])
        assert await wire.closed(20)
