"""Looks whether a pageserver lives.

One answer on either of its two ports is enough: whoever moves its shards needlessly costs more than
another round. So an error is an answer as well, such as a login that is refused.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from contextlib import suppress
from typing import Final

from compute_common.http.client import HttpClient, RefusedError, status_text
from compute_common.http.connections import system_words
from control_plane.decisions.model import StorageNode

logger = logging.getLogger(__name__)

PROBE_S: Final = 0.3
LATE_S: Final = 0.1
MAX_PROBES: Final = 64
"""At the same time; a probe has two sockets."""
MAX_BYTES: Final = 64 * 1024
_PROTOCOL_3: Final = 3 << 16
_ANSWERS: Final = b"REvN"
"""Types of the messages that may follow a StartupMessage: Authentication, ErrorResponse,
NegotiateProtocolVersion, NoticeResponse (PostgreSQL documentation, 55.2.1)."""
_MAX_MESSAGE: Final = 1 << 20
_TERMINATE: Final = b"X\x00\x00\x00\x04"


def startup_message() -> bytes:
    """Return a StartupMessage of protocol 3.0."""
    options = b"user\0control_plane\0application_name\0control_plane\0\0"
    return struct.pack("!ii", 8 + len(options), _PROTOCOL_3) + options


class PageserverProber:
    """A `ports.Prober`; use it in one event loop, and close it there."""

    def __init__(self, *, probe_s: float = PROBE_S) -> None:
        self._probe_s = probe_s
        self._free = asyncio.Semaphore(MAX_PROBES)
        self._client = HttpClient(peer="pageserver", connect_timeout_s=probe_s, max_bytes=MAX_BYTES)

    async def probe(self, node: StorageNode) -> str:
        """Return '' if one of its ports answered, else what both met; see `ports.Prober`.

        '' as well where this event loop was busy for too long to tell: answers may have waited.
        """
        loop = asyncio.get_running_loop()
        async with self._free:
            begun = loop.time()
            attempts = (
                asyncio.create_task(self._bounded_startup(node)),
                asyncio.create_task(self._get_status(node)),
            )
            try:
                for attempt in asyncio.as_completed(attempts):
                    if not await attempt:
                        return ""
            finally:
                for task in attempts:
                    task.cancel()
            if loop.time() - begun > self._probe_s + LATE_S:
                logger.warning(
                    "the event loop was blocked: the probe of node %d says nothing", node.id
                )
                return ""
            return "; ".join(task.result() for task in attempts)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _bounded_startup(self, node: StorageNode) -> str:
        try:
            async with asyncio.timeout(self._probe_s):
                failure = await _start_session(node.listen_pg_addr, node.listen_pg_port)
        except TimeoutError:
            failure = f"no answer within {self._probe_s:g} s"
        except (OSError, ValueError) as error:  # ValueError: a name that no resolver takes
            failure = system_words(error) if isinstance(error, OSError) else str(error)
        return f"{node.pg_endpoint}: {failure}" if failure else ""

    async def _get_status(self, node: StorageNode) -> str:
        host = node.listen_http_addr
        authority = f"[{host}]" if ":" in host else host
        url = f"http://{authority}:{node.listen_http_port}/v1/status"
        try:
            answer = await self._client.request(
                "GET",
                url,
                rpc="status",
                total_s=self._probe_s,
                headers={"Connection": "close"},
                reset_on_timeout=False,
            )
        except RefusedError as refused:
            return f"{url}: {refused.reason}"
        if answer.status >= 500:  # perhaps a proxy's, whose server is gone
            return f"{url}: HTTP status {status_text(answer.status)}"
        return ""


async def _start_session(host: str, port: int) -> str:
    """Return '' if a server of the protocol answers a StartupMessage, else what came instead."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(startup_message())
        header = await reader.readexactly(5)
        length = int.from_bytes(header[1:], "big")
        if header[0] not in _ANSWERS or not 4 <= length <= _MAX_MESSAGE:
            return f"its answer begins with {header!r}, which is not PostgreSQL's protocol"
        writer.write(_TERMINATE)
    except asyncio.IncompleteReadError as error:
        return f"it closed the connection after {len(error.partial)} bytes"
    else:
        return ""
    finally:
        with suppress(OSError):
            writer.close()
