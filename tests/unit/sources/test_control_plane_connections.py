"""Connections to the control plane: TLS with an own authority, and those that break."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from compute_ctl.errors import FetchError
from compute_ctl.ports import FetchStatus
from compute_ctl.sources.control_plane import ControlPlane
from devstack.installation import free_port
from tests.support.certificates import certificate

EMPTY = b'{"status": "empty", "spec": null}'
KEEP_ALIVE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(EMPTY)
)


@asynccontextmanager
async def tls_server(pem: Path, private: Path) -> AsyncIterator[str]:
    """Serve empty computes; yield the URI."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)

    async def empty(_: web.Request) -> web.Response:
        return web.Response(body=EMPTY)

    application = web.Application()
    application.router.add_get("/{path:.*}", empty)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def failure(uri: str, ca: Path | None = None) -> str:
    """Return what a fetch from *uri* says went wrong."""
    client = ControlPlane(uri, compute_id="c", ca=ca)
    try:
        with pytest.raises(FetchError) as caught:
            await client.fetch()
    finally:
        await client.close()
    return str(caught.value).removeprefix(
        f'could not get the configuration from control plane "{uri}": '
    )


async def test_only_the_given_authority_is_trusted(tmp_path: Path) -> None:
    """Without the authority named the server is a stranger; one put in its place later is read."""
    pem, private = certificate(tmp_path)
    ca = tmp_path / "ca.pem"
    invalid = "its certificate is not valid: {} (is --control-plane-ca right?)"
    async with tls_server(pem, private) as uri:
        assert invalid.format("self-signed certificate") == await failure(uri)
        absent = f'could not read authorities "{ca}"'
        assert (await failure(uri, ca)).startswith(absent)
        (tmp_path / "other").mkdir()
        ca.write_bytes(certificate(tmp_path / "other")[0].read_bytes())
        client = ControlPlane(uri, compute_id="c", ca=ca)
        with pytest.raises(FetchError, match="its certificate is not valid: "):
            await client.fetch()
        ca.write_bytes(pem.read_bytes())
        assert FetchStatus.EMPTY == (await client.fetch()).status
        await client.close()


async def test_an_expired_certificate_is_called_so(tmp_path: Path) -> None:
    """The reason is OpenSSL's, without the rest of its words."""
    pem, private = certificate(tmp_path, lasts_h=-1.0)
    async with tls_server(pem, private) as uri:
        said = await failure(uri, pem)
    assert said.startswith("its certificate is not valid: certificate has expired (")


async def test_nobody_there_is_said_shortly(tmp_path: Path) -> None:
    """No server, no such host, and a server that speaks no TLS: the system's own words."""
    port = free_port()
    for scheme in ("http", "https"):
        said = await failure(f"{scheme}://127.0.0.1:{port}")
        assert "could not connect: connection refused" == said
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        plain = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        said = await failure(plain)
    assert said.startswith(("could not connect: ", "it closed the connection")), said


async def test_connection_closed_meanwhile_is_made_anew() -> None:
    """A kept connection that the server has dropped since costs no failed fetch."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and hang up at the next one."""
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(KEEP_ALIVE + EMPTY)
        await writer.drain()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = ControlPlane(f"http://127.0.0.1:{port}", compute_id="c")
    async with server:
        assert FetchStatus.EMPTY == (await client.fetch()).status
        assert FetchStatus.EMPTY == (await client.fetch()).status
        await client.close()
    assert 2 == connections


async def test_one_dead_connection_costs_one_deadline() -> None:
    """After a silence no connection of before is used again, kept or held by a long poll."""
    asked = asyncio.Event()
    died = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer plain requests until what is open dies; hold those that would wait."""
        born_dead = died.is_set()
        while request := await reader.readuntil(b"\r\n\r\n"):
            if b"Prefer: wait" in request:
                asked.set()
            elif born_dead or not died.is_set():
                writer.write(KEEP_ALIVE + EMPTY)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(serve(reader, writer)))
        writers.append(writer)

    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = ControlPlane(f"http://127.0.0.1:{port}", compute_id="c", total_timeout_s=0.2)
    async with server:
        poll = asyncio.create_task(client.fetch(etag='"1"', wait_s=20))
        await asyncio.gather(client.fetch(), client.fetch(), asked.wait())
        assert 3 == len(writers)
        died.set()

        with pytest.raises(FetchError, match="no answer in time"):
            await client.fetch()
        with pytest.raises(FetchError, match="no answer in time"):
            await asyncio.wait_for(poll, 10.0)
        assert FetchStatus.EMPTY == (await client.fetch()).status
        await client.close()
        for writer in writers:
            writer.close()
        await asyncio.wait(tasks)
    for task in tasks:
        task.exception()


def test_a_vanished_host_costs_no_long_deadline() -> None:
    """Where nothing is acknowledged any more, the connection breaks, and a new one is tried."""
    python = ["unshare", "--user", "--map-root-user", "--net", sys.executable]
    probe = "from tests.support.loopback import set_loopback as lo; lo(up=True)"
    if subprocess.run([*python, "-c", probe], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets nobody have a network namespace")
    done = subprocess.run(
        [*python, "-m", "tests.unit.sources.vanishing"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    seconds, reason = done.stdout.split(maxsplit=1)
    assert 2 <= float(seconds) < 7
    assert "no answer in time\n" == reason
