"""HTTP requests to one peer: one connection pool, and one kind of error for all that fails.

Redirects are not followed, proxies of the environment not used, bodies not decompressed and never
longer than `max_bytes`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from compute_common.errors import SettingsError
from compute_common.http.connections import (
    connection_error,
    keepalive_socket_factory,
    system_words,
)
from compute_common.redact import HIDDEN, redact

MAX_CONNECTIONS: Final = 4
"""To each address. A request waits for a free one at most as long as for a connection."""
NO_ANSWER: Final = "no answer in time"
"""The reason of a `RefusedError` after a timeout."""
MAX_REASON: Final = 200
"""Longest reason taken from an answer, in characters."""
REASON_FIELDS: Final = ("error", "msg")
"""Of a JSON body: the daemons' own, and that of Neon's storage."""


@dataclass(eq=False, slots=True)
class RefusedError(Exception):
    """Why one address gave no usable answer."""

    reason: str
    retry_after_s: float | None = None
    lasting: bool = False
    """Asking again will not help: 401, 403, 404."""
    unavailable: bool = False
    """Another address may answer: it could not be reached, hung up or said 503."""
    blameless: bool = False
    """It gave an answer of its own, so it is asked first the next time, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes


class HttpClient:
    """Connections with one bearer token; use it in one event loop, and close it there."""

    def __init__(
        self,
        *,
        peer: str,
        connect_timeout_s: float,
        max_bytes: int,
        token: str = "",
        tls: bool = False,
        ca: Path | None = None,
        ca_flag: str = "",
        max_connections: int = MAX_CONNECTIONS,
        on_request: Callable[[str, str], None] = lambda _rpc, _status: None,
    ) -> None:
        """*peer*: whose token it is; *tls*: one of the addresses is https; *ca*: a PEM file of the
        authorities to trust, which the flag *ca_flag* names; *max_bytes*: of an answer.

        *on_request* gets (rpc, status such as ``200 OK``, or ``unknown``) of each request.

        Raises:
            SettingsError: no header can carry the token.
        """
        if not (token.isascii() and token.isprintable()):
            raise SettingsError(f"the {peer}'s token has characters no header can carry")
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._tls = tls
        self._ca = ca
        self._ca_flag = ca_flag
        self._max_bytes = max_bytes
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        self._on_request = on_request
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections; the next request would open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        rpc: str,
        total_s: float,
        headers: Mapping[str, str],
        body: bytes | None = None,
        reset_on_timeout: bool = True,
    ) -> HttpAnswer:
        """Send one request; *total_s* bounds it. *rpc*: what `on_request` shall call it.

        *reset_on_timeout*: silence closes all connections: where one has died, others have too.

        Raises:
            RefusedError: there was no answer.
        """
        status = "unknown"
        session: aiohttp.ClientSession | None = None
        try:
            session = self._connected()
            async with session.request(
                method,
                URL(url, encoded=True),
                headers={**self._headers, **headers},
                data=body,
                timeout=aiohttp.ClientTimeout(total=total_s, connect=self._connect_timeout_s),
                allow_redirects=False,
            ) as response:
                status = status_text(response.status)
                return await self._read(response)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            if _is_silence(error) and reset_on_timeout and session is self._session:
                await self.close()
            elif isinstance(error, aiohttp.ClientConnectorCertificateError):
                await self.close()  # the authorities are read again: somebody may replace the file
            raise self._refused(error) from error
        finally:
            self._on_request(rpc, status)

    async def lines(
        self, method: str, url: str, *, rpc: str, body: bytes
    ) -> AsyncGenerator[bytes, None]:
        """Send one request and yield each line of its answer as it comes; the caller ends it.

        Raises:
            RefusedError: the answer is no 200, or has ended.
        """
        status = "unknown"
        try:
            async with self._connected().request(
                method,
                URL(url, encoded=True),
                headers=self._headers,
                data=body,
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_timeout_s),
                allow_redirects=False,
            ) as response:
                status = status_text(response.status)
                if response.status != HTTPStatus.OK:
                    raise RefusedError(f"HTTP status {status}")
                async for line in response.content:
                    yield line
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self._refused(error) from error
        finally:
            self._on_request(rpc, status)
        raise RefusedError("it ended its answer")

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._trust(),
                    limit=0,
                    limit_per_host=self._max_connections,
                    socket_factory=keepalive_socket_factory(self._connect_timeout_s),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _trust(self) -> ssl.SSLContext | bool:
        if not self._tls:
            return True
        try:
            return ssl.create_default_context(cafile=self._ca)
        except OSError as error:  # ssl.SSLError is one
            raise RefusedError(f'could not read authorities "{self._ca}": {error}') from error

    def _refused(self, error: Exception) -> RefusedError:
        """Return what an error of the connection means."""
        if isinstance(error, TimeoutError):
            return RefusedError(NO_ANSWER, unavailable=not _is_silence(error))
        if isinstance(error, aiohttp.ClientConnectorError):
            return RefusedError(connection_error(error, self._ca_flag), unavailable=True)
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return RefusedError("it closed the connection without an answer", unavailable=True)
        if isinstance(error, aiohttp.ClientOSError):
            return RefusedError(f"the connection was lost: {system_words(error)}", unavailable=True)
        if type(error) is aiohttp.ClientConnectionError:
            # We closed the connection, since another request on it has timed out.
            return RefusedError(NO_ANSWER)
        return RefusedError(str(error) or type(error).__name__)

    async def _read(self, response: aiohttp.ClientResponse) -> HttpAnswer:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise RefusedError("the answer is compressed, which nobody asked for")
        parts = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._max_bytes:
                raise RefusedError(f"the answer is longer than {self._max_bytes} bytes")
            parts.append(part)
        return HttpAnswer(status=response.status, headers=response.headers, body=b"".join(parts))


def _is_silence(error: Exception) -> bool:
    """Whether a connected peer has not answered."""
    timeout = isinstance(error, TimeoutError)
    return timeout and not isinstance(error, aiohttp.ConnectionTimeoutError)


def status_text(code: int) -> str:
    """Return a status as the metrics show it, such as ``200 OK``."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def reason_in(raw: bytes, *, token: str = "") -> str:
    """Return the reason that the body of a refusal gives, in one bounded line without secrets.

    *token* is what the request logged in with: a body may quote it.
    """
    text = raw[: 16 * MAX_REASON].decode(errors="replace")
    try:
        answer = msgspec.json.decode(raw)
        found = [answer.get(name) for name in REASON_FIELDS] if isinstance(answer, dict) else []
        text = next((value for value in found if isinstance(value, str)), text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    text = redact(text.replace(token, HIDDEN) if token else text)
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:MAX_REASON]
