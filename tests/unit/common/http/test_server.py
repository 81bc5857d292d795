"""The server by real sockets: parameters, held requests, and what stands in the way."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn

import aiohttp
import pytest

from compute_common.errors import RequestError, SettingsError
from compute_common.http.api import Call
from compute_common.http.auth import authenticate_socket
from compute_common.http.limits import SILENT_S, Connection, ConnectionLimits
from compute_common.http.listener import ListenerSpec
from compute_common.http.request_log import LogLimit
from compute_common.http.router import Router
from compute_common.http.server import HttpServer
from compute_common.http.sockets import PortTakenError, TcpAddress, UnixAddress
from devstack.wait import until
from tests.support.files import open_files
from tests.unit.common.http.serving import (
    HELD,
    OK,
    PLAIN,
    TIMEOUT_S,
    Desk,
    connect,
    rest,
    route,
    serve,
)

MANY = 1000


async def test_path_parameters() -> None:
    """Authenticator and handler get them decoded."""
    async with serve() as (_, port), aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/computes/caf%C3%A9") as answer:
            assert "caller of café: café" == await answer.text()
        async with session.get(f"http://127.0.0.1:{port}/computes/") as answer:
            assert 404 == answer.status


async def test_a_refusal_says_when_to_come_again() -> None:
    """In whole seconds, not too early."""

    async def full(call: Call[Desk]) -> NoReturn:
        raise RequestError(503, "too many wait", retry_after_s=1.2)

    async with (
        serve(route("/full", full)) as (_, port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/full") as answer,
    ):
        assert (503, "2") == (answer.status, answer.headers["Retry-After"])
        assert {"error": "too many wait"} == await answer.json()


async def test_quiet_requests_leave_room_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Routes that computes ask all the time do not push others out of the log."""
    caplog.set_level("INFO")
    async with serve() as (_, port), aiohttp.ClientSession() as session:
        for _ in range(2 * LogLimit.burst):
            async with session.get(f"http://127.0.0.1:{port}/computes/a") as answer:
                assert 200 == answer.status
        async with session.get(f"http://127.0.0.1:{port}/missing") as answer:
            assert 404 == answer.status
    said = [message for message in caplog.messages if "request" in message]
    assert ["serving /missing GET request", "answered /missing GET request with 404"] == said


async def test_a_handler_ends_when_the_caller_hangs_up() -> None:
    """Nothing is held for nobody."""
    async with serve() as (desk, port):
        async with AsyncExitStack() as stack:
            await connect(stack, port, HELD)
            await until("it is held", lambda: desk.held == 1)
        await until("it has ended", lambda: desk.held == 0)


@pytest.fixture
def _many_files() -> Iterator[None]:
    """Let this process have both ends of `MANY` connections."""
    with open_files(2 * MANY + 200):
        yield


@pytest.mark.usefixtures("_many_files")
async def test_many_held_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are busy none is looked at to make room; the next one is let in after an answer."""
    looks = 0

    def has_unread(self: Connection) -> bool:
        nonlocal looks
        looks += 1
        return False

    monkeypatch.setattr(Connection, "has_unread", has_unread)
    limits = ConnectionLimits(connections=MANY)
    async with serve(limits=limits) as (desk, port), AsyncExitStack() as stack:
        held = [await connect(stack, port, HELD) for _ in range(MANY)]
        await until("all are held", lambda: desk.held == MANY)
        looks = 0
        newcomer = asyncio.create_task((await connect(stack, port, PLAIN)).readline())
        done, _ = await asyncio.wait({newcomer}, timeout=4 * SILENT_S)

        assert (set(), 0, MANY) == (done, looks, desk.held)
        desk.release.set()
        assert OK == await asyncio.wait_for(newcomer, TIMEOUT_S)
        for reader in held:
            assert OK == await reader.readline()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [(PLAIN, OK), (PLAIN.replace(b"computes", b"nowhere"), b"HTTP/1.1 404 Not Found\r\n")],
)
async def test_who_has_been_silent_for_longest_makes_room(request_: bytes, answer: bytes) -> None:
    """Not the one that connected first and has just asked."""
    limits = ConnectionLimits(connections=2)
    async with serve(limits=limits) as (_, port), AsyncExitStack() as stack:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.transport.abort)
        silent = await connect(stack, port)
        writer.write(request_)
        assert answer == await reader.readline()
        newcomer = await connect(stack, port, PLAIN)

        assert OK == await newcomer.readline()
        assert b"" == await rest(silent)
        writer.write(PLAIN)
        await reader.readuntil(OK)


def made(*listeners: ListenerSpec) -> HttpServer[Desk]:
    """Return a server without routes."""
    desk = Desk()
    return HttpServer(
        program="tester", api=desk, router=Router[Desk](()), listeners=listeners, metrics=desk
    )


async def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    """Unless it is to be tried again. What was open already is closed."""
    path = tmp_path / "a.sock"
    local = ListenerSpec(
        name="socket", address=UnixAddress(path=path), authenticate=authenticate_socket
    )
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        address = TcpAddress(host="127.0.0.1", port=port, option="--listen")
        spec = ListenerSpec(name="port", address=address, authenticate=Desk().authenticate)
        with pytest.raises(PortTakenError, match="address already in use") as caught:
            await made(spec, local).start()

    assert "Is another tester running? Choose another --listen." == caught.value.hint
    assert not path.exists()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70])
async def test_an_unknown_host(host: str) -> None:
    """It is named."""
    address = TcpAddress(host=host, port=0)
    spec = ListenerSpec(name="port", address=address, authenticate=Desk().authenticate)
    with pytest.raises(SettingsError, match=f'could not listen on "{host}"'):
        await made(spec).start()
