"""A listener with TLS by real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from compute_common.http.limits import ConnectionLimits
from devstack.wait import until
from tests.support.certificates import certificate
from tests.unit.common.http.serving import HELD, TIMEOUT_S, connect, rest, serve

SILENT = 20


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """The server's side, with a certificate of its own in `tmp_path`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate(tmp_path))
    return made


def trusting(pem: Path) -> ssl.SSLContext:
    """Return the client's side."""
    return ssl.create_default_context(cafile=pem)


async def ask(port: int, pem: Path) -> str:
    """Ask over a new connection."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session,
        session.get(f"https://127.0.0.1:{port}/computes/a", ssl=trusting(pem)) as answer,
    ):
        return await answer.text()


@asynccontextmanager
async def silent_callers(port: int, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connect *count* times and say nothing."""
    async with AsyncExitStack() as stack:
        yield [await connect(stack, port) for _ in range(count)]


async def test_an_answer(tmp_path: Path, context: ssl.SSLContext) -> None:
    """The client trusts the certificate; buffers are small, as there may be many connections."""
    async with serve(tls=context) as (desk, port), aiohttp.ClientSession() as session:
        url = f"https://127.0.0.1:{port}/computes/a"
        async with session.get(url, ssl=trusting(tmp_path / "cert.pem")) as answer:
            assert "caller of a: a" == await answer.text()
        (request,) = desk.callers
        assert request.transport is not None
        assert 16 * 1024 == request.transport._ssl_protocol.max_size  # type: ignore[attr-defined]  # asyncio's, private


async def test_silent_callers_hold_up_nobody(tmp_path: Path, context: ssl.SSLContext) -> None:
    """Others need not wait until whoever does not begin the handshake is dropped."""
    limits = ConnectionLimits(header=600.0)
    async with serve(tls=context, limits=limits) as (desk, port), silent_callers(port, SILENT):
        assert "caller of a: a" == await ask(port, tmp_path / "cert.pem")
        assert 0 == desk.dropped["slow"]


async def test_silent_callers_are_dropped(context: ssl.SSLContext) -> None:
    """Whoever does not begin the handshake has a deadline."""
    limits = ConnectionLimits(header=0.5)
    async with (
        serve(tls=context, limits=limits) as (desk, port),
        silent_callers(port, SILENT) as silent,
    ):
        for reader in silent:
            assert b"" == await rest(reader)
        assert SILENT == desk.dropped["slow"]


async def test_silent_callers_make_room(tmp_path: Path, context: ssl.SSLContext) -> None:
    """A handshake counts as a connection, and ends where there is no room for another."""
    limits = ConnectionLimits(connections=2)
    async with serve(tls=context, limits=limits) as (desk, port), silent_callers(port, SILENT):
        assert "caller of a: a" == await ask(port, tmp_path / "cert.pem")
        assert SILENT - 1 <= desk.dropped["full"]


async def test_something_else_than_tls(tmp_path: Path, context: ssl.SSLContext) -> None:
    """It is closed, and the next one is served."""
    async with serve(tls=context) as (_, port):
        async with AsyncExitStack() as stack:
            reader = await connect(stack, port, HELD)
            assert b"HTTP" not in await rest(reader)
        assert "caller of a: a" == await ask(port, tmp_path / "cert.pem")


async def test_a_handler_ends_when_the_caller_hangs_up(
    tmp_path: Path, context: ssl.SSLContext
) -> None:
    """Without a farewell, too."""
    async with serve(tls=context) as (desk, port):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting(tmp_path / "cert.pem")
        )
        writer.write(HELD)
        await until("it is held", lambda: desk.held == 1)
        writer.transport.abort()
        await until("it has ended", lambda: desk.held == 0)


async def test_a_new_certificate_needs_no_restart(tmp_path: Path, context: ssl.SSLContext) -> None:
    """What is loaded into the context counts for later connections."""
    other = tmp_path / "other"
    other.mkdir()
    async with serve(tls=context) as (_, port):
        context.load_cert_chain(*certificate(other))

        assert "caller of a: a" == await ask(port, other / "cert.pem")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(port, tmp_path / "cert.pem")


async def test_the_end_waits_for_no_handshake(context: ssl.SSLContext) -> None:
    """Handshakes under way are broken off."""
    async with AsyncExitStack() as stack:
        async with serve(tls=context) as (_, port):
            readers = [await connect(stack, port) for _ in range(SILENT)]
        for reader in readers:
            assert b"" == await rest(reader)
