"""TLS on an accepted connection, with small buffers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio.sslproto import SSLProtocol


class SmallTls(SSLProtocol):
    """asyncio's TLS; its buffer of 256 KiB a connection is too much for thousands of long polls."""

    max_size = 16 * 1024
    """Bytes; no TLS record is longer."""


async def begin_tls(
    protocol: asyncio.Protocol,
    accepted: socket.socket,
    context: ssl.SSLContext,
    *,
    shutdown_s: float,
) -> None:
    """Do the handshake on *accepted* and connect *protocol*; otherwise close it.

    *shutdown_s* is how long the peer may take to agree to the end of the connection.

    Raises:
        OSError: the handshake failed.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    tls = SmallTls(loop, protocol, context, done, server_side=True, ssl_shutdown_timeout=shutdown_s)
    transport, _ = await loop.connect_accepted_socket(lambda: tls, accepted)
    try:
        await done
    except BaseException:
        transport.abort()
        raise
