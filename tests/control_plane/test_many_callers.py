"""The process under more callers than it has room for, and under callers that never finish."""

import asyncio
import json
import socket
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from compute_common.http.sockets import BACKLOG
from devstack.compute_control_plane import COMPUTE_TOKEN, HOOK_TOKEN, ComputeControlPlane
from devstack.stack import operator_text
from tests.control_plane.conftest import ControlPlaneFactory
from tests.control_plane.test_hooks import attached
from tests.support.files import open_files

HOOKS = 1100
"""100 more than are held at the same time."""
IDLE = 300
FILES = 500
"""That the process may have open: room for 100 connections."""
HONEST_S = 30.0
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
SPEC = "/compute/api/v2/computes/one/spec"
ANSWERED_S = 100.0


async def _hook(port: int) -> int:
    """Send a hook on a connection of its own; return the status of the answer."""
    body = json.dumps(attached(1))
    head = (
        "PUT /notify-attach HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Authorization: Bearer {HOOK_TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write((head + body).encode())
    line = await reader.readline()
    await _close(writer)
    return int(line.split()[1])


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _hooks(plane: ComputeControlPlane) -> tuple[Counter[int], int]:
    """Send all hooks at once; return their answers by status, and that of a compute meanwhile."""
    async with asyncio.timeout(ANSWERED_S):
        sent = [asyncio.create_task(_hook(plane.port)) for _ in range(HOOKS)]
        beside = (await asyncio.to_thread(plane.spec, "one")).code
        return Counter(await asyncio.gather(*sent)), beside


@pytest.mark.timeout(150)
def test_more_hooks_than_are_held(make_control_plane: ControlPlaneFactory) -> None:
    """Each gets 423, or 503 when too many are held; the request of a compute is answered, too."""
    plane = make_control_plane().start()
    plane.put("one", operator_text())
    assert (
        200 == plane.spec("one").code
    )  # so it counts as alive, but it never reports what it runs with
    with open_files(HOOKS + 400):
        codes, beside = asyncio.run(_hooks(plane))
    assert (HOOKS, True) == (codes.total(), set(codes) <= {423, 503}), codes
    assert codes[423] > 0
    assert beside in (200, 503)
    assert 200 == plane.call("GET", "/readyz").code


async def _idle(port: int) -> int:
    """Open connections, begin a request on each, and return how many are closed in the end.

    Meanwhile a whole request is answered.
    """
    head = b"GET /livez HTTP/1.1\r\nHost: "
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(IDLE)]
    for _, writer in opened:
        writer.write(head)
    async with asyncio.timeout(ANSWERED_S):
        answers, beside = await asyncio.open_connection("127.0.0.1", port)
        beside.write(head + b"localhost\r\n\r\n")
        assert b"HTTP/1.1 200 OK\r\n" == await answers.readline()
        ended = await asyncio.gather(*(reader.read() for reader, _ in opened))
    await asyncio.gather(*map(_close, (beside, *(writer for _, writer in opened))))
    return len(ended)


@pytest.mark.timeout(150)
def test_callers_that_never_finish(make_control_plane: ControlPlaneFactory) -> None:
    """Their connections are closed after a while; requests of others are answered meanwhile."""
    plane = make_control_plane().start()
    assert IDLE == asyncio.run(_idle(plane.port))
    assert 200 == plane.call("GET", "/livez").code


def _flood(port: int) -> list[socket.socket]:
    """Connect until nobody takes a connection any more; each has sent a request and reads nothing.

    The kernel takes connections for a process until its queue is full.
    """
    opened: list[socket.socket] = []
    while True:
        try:
            wire = socket.create_connection(("127.0.0.1", port), 3.0)
        except TimeoutError:
            return opened
        opened.append(wire)
        wire.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")


@pytest.mark.timeout(150)
def test_full_backlog(make_control_plane: ControlPlaneFactory) -> None:
    """Where the kernel takes no more connections, honest callers still get an answer in time."""
    plane = make_control_plane()
    plane.argv = ["/usr/bin/prlimit", f"--nofile={FILES}", *plane.argv]
    plane.start()
    plane.put("one", operator_text())
    with open_files(BACKLOG + FILES + 400), ExitStack() as stack:
        plane.pause()
        try:
            opened = _flood(plane.port)
        finally:
            plane.resume()
        for wire in opened:
            stack.callback(wire.close)
        assert len(opened) > min(BACKLOG, int(SOMAXCONN.read_text()))
        codes = [plane.call("GET", "/livez", timeout=HONEST_S).code]
        codes.append(plane.call("GET", SPEC, token=COMPUTE_TOKEN, timeout=HONEST_S).code)
    assert [200, 200] == codes
