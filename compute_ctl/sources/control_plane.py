"""The source that is the control plane, asked over HTTP.

An address is asked once per `fetch`: when to ask again is the caller's decision; this module tells
what kind of failure it was. Where several addresses are given, the one that answered last is asked;
the next one at once if it cannot be reached or answers 503. Redirects are not followed, proxies of
the environment not used, bodies not decompressed and never longer than MAX_BYTES. The bearer token
appears in no error.

Source of the protocol: the reference's `GET /compute/api/v2/computes/<id>/spec`; `ETag`,
`Prefer: wait` (RFC 7240) and `Retry-After` are additions that a server may ignore.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from compute_ctl.document.json_text import malformed
from compute_ctl.document.spec import MAX_DOCUMENT_BYTES
from compute_ctl.errors import FetchError, SettingsError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.sources.addresses import base_urls
from compute_ctl.sources.connections import (
    connection_error,
    keepalive_socket_factory,
    system_words,
)
from compute_ctl.sources.http_answer import applied_wait, reason_in, retry_after, status_text
from compute_ctl.system.blocking_worker import beside_loop

MAX_BYTES: Final = MAX_DOCUMENT_BYTES
CONNECT_TIMEOUT_S: Final = 2.0
TOTAL_TIMEOUT_S: Final = 10.0
LONG_POLL_GRACE_S: Final = 5.0
_LASTING: Final = frozenset({401, 403, 404})
_HINTS: Final = {
    401: "is NEON_CONTROL_PLANE_TOKEN right?",
    403: "is NEON_CONTROL_PLANE_TOKEN of this compute?",
    404: "is the compute ID, -i, right?",
}
_RPC: Final = "GetConfig"
_REPORT_RPC: Final = "Report"
REPORT_TIMEOUT_S: Final = 2.0


@dataclass(eq=False, slots=True)
class _RefusedError(Exception):
    """Why one address gave no usable answer."""

    reason: str
    retry_after_s: float | None = None
    lasting: bool = False
    unavailable: bool = False
    """Another address may answer: it could not be reached, hung up or said 503."""
    blameless: bool = False
    """It has answered for itself, so it is the one to ask again."""


def _count_nothing(_rpc: str, _status: str) -> None:
    pass


class ControlPlane:
    """A client for one compute; use it in one event loop, and close it there."""

    def __init__(
        self,
        uri: str,
        *,
        compute_id: str,
        token: str = "",
        ca: Path | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        on_request: Callable[[str, str], None] = _count_nothing,
    ) -> None:
        """*uri*: an address, or several separated by commas. *on_request* gets (rpc, status such
        as ``200 OK``, or ``unknown``) of each request.

        Raises:
            SettingsError: the URI, the id or the token cannot be used.
        """
        if not compute_id.strip("."):
            raise SettingsError(f'compute ID "{compute_id}" cannot be part of a URL')
        self._addresses = deque(base_urls(uri))
        """The one to ask first."""
        self._path = f"/compute/api/v2/computes/{quote(compute_id, safe='')}"
        self.wants_reports = False
        """Whether the last answer asked for reports (``Compute-Reports: 1``)."""
        if not (token.isascii() and token.isprintable()):
            raise SettingsError("the control plane's token has characters no header can carry")
        self._token = token
        self._ca = ca
        self._connect_timeout_s = connect_timeout_s
        self._total_timeout_s = total_timeout_s
        self._on_request = on_request
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """``control_plane``."""
        return "control_plane"

    async def close(self) -> None:
        """Close the connections; the next fetch would open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Ask each address at most once, until one answers; see `ports.Source.fetch`.

        Raises:
            FetchError: no usable answer; `lasting` for 401, 403 and 404.
        """
        refusals: dict[str, _RefusedError] = {}
        until = asyncio.get_running_loop().time() + self._total_timeout_s
        while True:
            base = self._addresses[0]
            try:
                return await self._ask(base, etag, wait_s)
            except _RefusedError as refused:
                refusals[base] = refused
                if not refused.blameless:
                    self._addresses.rotate(-1)
                late = asyncio.get_running_loop().time() >= until
                if late or not refused.unavailable or len(refusals) == len(self._addresses):
                    raise self._error(refusals) from refused.__cause__

    async def report(self, body: bytes) -> None:
        """Send a report to the address that answered last; see `ports.ReportReceiver.report`.

        Raises:
            FetchError: it was not taken.
        """
        base, status = self._addresses[0], "unknown"
        try:
            async with self._connected().post(
                URL(f"{base}{self._path}/report", encoded=True),
                data=body,
                headers=self._headers(None, None) | {"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=REPORT_TIMEOUT_S),
                allow_redirects=False,
            ) as response:
                status = status_text(response.status)
                if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise _refusal(response, await self._body(response))
        except _RefusedError as refused:
            raise self._error({base: refused}, "report to") from refused
        except TimeoutError as error:
            raise self._error({base: _RefusedError("no answer in time")}, "report to") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise self._error({base: _RefusedError(reason)}, "report to") from error
        finally:
            self._on_request(_REPORT_RPC, status)

    async def _ask(self, base: str, etag: str | None, wait_s: int | None) -> Fetched:
        status = "unknown"
        session: aiohttp.ClientSession | None = None
        try:
            session = self._connected()
            async with session.get(
                URL(f"{base}{self._path}/spec", encoded=True),
                headers=self._headers(etag, wait_s),
                timeout=self._timeout(wait_s),
                allow_redirects=False,
            ) as response:
                status = status_text(response.status)
                return await self._answer(response, etag)
        except TimeoutError as error:
            connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
            if session is self._session and not connecting:
                await self.close()  # where one connection has died unnoticed, the others have too
            raise _RefusedError("no answer in time", unavailable=connecting) from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                await self.close()  # the authorities are read again: somebody may replace the file
            raise _RefusedError(connection_error(error), unavailable=True) from error
        except aiohttp.ServerDisconnectedError as error:
            reason = "it closed the connection without an answer"
            raise _RefusedError(reason, unavailable=True) from error
        except aiohttp.ClientOSError as error:
            reason = f"the connection broke: {system_words(error)}"
            raise _RefusedError(reason, unavailable=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _RefusedError(str(error) or type(error).__name__) from error
        finally:
            self._on_request(_RPC, status)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls(),
                    limit=4,
                    socket_factory=keepalive_socket_factory(self._connect_timeout_s),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _tls(self) -> ssl.SSLContext | bool:
        if not any(base.startswith("https:") for base in self._addresses):
            return True
        try:
            return ssl.create_default_context(cafile=self._ca)
        except OSError as error:  # ssl.SSLError is one
            raise _RefusedError(f'could not read authorities "{self._ca}": {error}') from error

    def _headers(self, etag: str | None, wait_s: int | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if etag is not None:
            headers["If-None-Match"] = etag
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s}"
        return headers

    def _timeout(self, wait_s: int | None) -> aiohttp.ClientTimeout:
        total = self._total_timeout_s if wait_s is None else wait_s + LONG_POLL_GRACE_S
        return aiohttp.ClientTimeout(total=total, connect=self._connect_timeout_s)

    async def _answer(self, response: aiohttp.ClientResponse, etag: str | None) -> Fetched:
        self.wants_reports = response.headers.get("Compute-Reports", "").strip() == "1"
        long_polled = applied_wait(response.headers.get("Preference-Applied", ""))
        if response.status == HTTPStatus.NOT_MODIFIED and etag is not None:
            return Fetched(status=FetchStatus.NOT_MODIFIED, etag=etag, long_polled=long_polled)
        raw = await self._body(response)
        if response.status != HTTPStatus.OK:
            raise _refusal(response, raw)
        status = await beside_loop(lambda: _document_status(raw), size=len(raw), name="answer")
        return Fetched(
            status=status,
            raw=raw if status is FetchStatus.ATTACHED else b"",
            etag=response.headers.get("ETag"),
            long_polled=long_polled,
        )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _RefusedError("the answer is compressed, which nobody asked for")
        parts = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > MAX_BYTES:
                raise _RefusedError(f"the answer is longer than {MAX_BYTES} bytes")
            parts.append(part)
        return b"".join(parts)

    def _error(
        self, refusals: dict[str, _RefusedError], what: str = "get the configuration from"
    ) -> FetchError:
        """Return why none of the addresses asked has answered."""
        reasons = [f'"{base}": {refused.reason}' for base, refused in refusals.items()]
        reason = "; ".join(reasons)
        if self._token:
            reason = reason.replace(self._token, "***")
        asked = [it.retry_after_s for it in refusals.values() if it.retry_after_s is not None]
        return FetchError(
            f"could not {what} control plane {reason}",
            retry_after_s=max(asked, default=None),
            lasting=all(refused.lasting for refused in refusals.values()),
        )


def _document_status(raw: bytes) -> FetchStatus:
    """Return what a 200 says: a light decode, the document itself is not looked at."""
    try:
        answer = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = f"the answer is not valid JSON: {malformed(raw, error)}"
        raise _RefusedError(said) from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if status == FetchStatus.EMPTY:
        return FetchStatus.EMPTY
    if status != FetchStatus.ATTACHED:
        raise _RefusedError('the answer has no status "attached" or "empty"')
    if answer.get("spec") is None:
        raise _RefusedError('the answer says "attached", but has no spec')
    return FetchStatus.ATTACHED


def _refusal(response: aiohttp.ClientResponse, raw: bytes) -> _RefusedError:
    """Return what an answer other than 200 and 304 says."""
    reason = f"HTTP status {status_text(response.status)}"
    if 300 <= response.status < 400 and response.status != HTTPStatus.NOT_MODIFIED:
        reason += " (redirects are not followed)"
    elif said := reason_in(raw):
        reason += f": {said}"
    if hint := _HINTS.get(response.status):
        reason += f" ({hint})"
    return _RefusedError(
        reason,
        retry_after_s=retry_after(
            response.headers.get("Retry-After"), response.headers.get("Date"), datetime.now(UTC)
        ),
        lasting=response.status in _LASTING,
        unavailable=response.status == HTTPStatus.SERVICE_UNAVAILABLE,
        blameless=response.status < HTTPStatus.INTERNAL_SERVER_ERROR,
    )
