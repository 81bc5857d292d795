"""Connections to the control plane: TLS with an own authority, and those that break."""

import asyncio
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from compute_ctl.errors import FetchError
from compute_ctl.ports import FetchStatus
from compute_ctl.sources.control_plane import ControlPlane

EMPTY = b'{"status": "empty", "spec": null}'
KEEP_ALIVE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(EMPTY)
)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1; return its file and the key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "control plane of a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, private


async def test_only_the_given_authority_is_trusted(tmp_path: Path) -> None:
    """With the authority named the answer is taken; without it the server is a stranger."""
    pem, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)

    async def empty(_: web.Request) -> web.Response:
        return web.Response(body=EMPTY)

    application = web.Application()
    application.router.add_get("/{path:.*}", empty)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    uri = f"https://127.0.0.1:{runner.addresses[0][1]}"
    knowing = ControlPlane(uri, compute_id="c", ca=pem)
    stranger = ControlPlane(uri, compute_id="c")
    lost = ControlPlane(uri, compute_id="c", ca=tmp_path / "absent.pem")
    try:
        assert (await knowing.fetch()).status == FetchStatus.EMPTY
        with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.fetch()
        with pytest.raises(FetchError, match="could not read authorities"):
            await lost.fetch()
    finally:
        for client in (knowing, stranger, lost):
            await client.close()
        await runner.cleanup()


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
        assert (await client.fetch()).status == FetchStatus.EMPTY
        assert (await client.fetch()).status == FetchStatus.EMPTY
        await client.close()
    assert connections == 2
