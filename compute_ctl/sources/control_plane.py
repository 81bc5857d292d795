"""The source that is the control plane, asked over HTTP.

Only one request is made per `fetch`: when to ask again is the caller's decision; this module tells
what kind of failure it was. Redirects are not followed, proxies of the environment not used, bodies
not decompressed and never longer than 16 MiB. The bearer token appears in no error.

Source of the protocol: the reference's `GET /compute/api/v2/computes/<id>/spec`; `ETag`,
`Prefer: wait` (RFC 7240) and `Retry-After` are additions that a server may ignore.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from compute_ctl.decisions.pacing import RETRY_AFTER_MAX_S
from compute_ctl.document.json_text import malformed
from compute_ctl.document.spec import MAX_DOCUMENT_BYTES
from compute_ctl.errors import FetchError, SettingsError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.sources.connection_error import connection_error, system_words
from compute_ctl.sources.sockets import vigilant
from compute_ctl.system.daemon_thread import beside_loop

MAX_BYTES: Final = MAX_DOCUMENT_BYTES
MAX_REASON: Final = 200
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
        """*on_request* gets (rpc, status such as ``200 OK``, or ``unknown``) of each request.

        Raises:
            SettingsError: the URI, the id or the token cannot be used.
        """
        self._base = _base_url(uri)
        if not compute_id.strip("."):
            raise SettingsError(f'compute ID "{compute_id}" cannot be part of a URL')
        path = f"/compute/api/v2/computes/{quote(compute_id, safe='')}/spec"
        self._url = URL(self._base + path, encoded=True)
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
        """Ask once; see `ports.Source.fetch`.

        Raises:
            FetchError: no usable answer; `lasting` for 401, 403 and 404.
        """
        status = "unknown"
        session: aiohttp.ClientSession | None = None
        try:
            session = self._connected()
            async with session.get(
                self._url,
                headers=self._headers(etag, wait_s),
                timeout=self._timeout(wait_s),
                allow_redirects=False,
            ) as response:
                status = _status_text(response.status)
                return await self._answer(response, etag)
        except TimeoutError as error:
            if session is self._session and not isinstance(error, aiohttp.ConnectionTimeoutError):
                await self.close()  # where one connection has died unnoticed, the others have too
            raise self._error("no answer in time") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                await self.close()  # the authorities are read again: somebody may replace the file
            raise self._error(connection_error(error)) from error
        except aiohttp.ServerDisconnectedError as error:
            raise self._error("it closed the connection without an answer") from error
        except aiohttp.ClientOSError as error:
            raise self._error(f"the connection broke: {system_words(error)}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._error(str(error) or type(error).__name__) from error
        finally:
            self._on_request(_RPC, status)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls(), limit=4, socket_factory=vigilant(self._connect_timeout_s)
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _tls(self) -> ssl.SSLContext | bool:
        if self._url.scheme == "http":
            return True
        try:
            return ssl.create_default_context(cafile=self._ca)
        except OSError as error:  # ssl.SSLError is one
            raise self._error(f'could not read authorities "{self._ca}": {error}') from error

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
        long_polled = _applied_wait(response.headers.get("Preference-Applied", ""))
        if response.status == HTTPStatus.NOT_MODIFIED and etag is not None:
            return Fetched(status=FetchStatus.NOT_MODIFIED, etag=etag, long_polled=long_polled)
        raw = await self._body(response)
        if response.status != HTTPStatus.OK:
            raise self._refusal(response, raw)
        status = await beside_loop(lambda: self._status(raw), size=len(raw), name="answer")
        return Fetched(
            status=status,
            raw=raw if status is FetchStatus.ATTACHED else b"",
            etag=response.headers.get("ETag"),
            long_polled=long_polled,
        )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise self._error("the answer is compressed, which nobody asked for")
        parts = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > MAX_BYTES:
                raise self._error(f"the answer is longer than {MAX_BYTES} bytes")
            parts.append(part)
        return b"".join(parts)

    def _status(self, raw: bytes) -> FetchStatus:
        """Return what a 200 says: a light decode, the document itself is not looked at."""
        try:
            answer = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            said = f"the answer is not valid JSON: {malformed(raw, error)}"
            raise self._error(said) from error
        status = answer.get("status") if isinstance(answer, dict) else None
        if status == FetchStatus.EMPTY:
            return FetchStatus.EMPTY
        if status != FetchStatus.ATTACHED:
            raise self._error('the answer has no status "attached" or "empty"')
        if answer.get("spec") is None:
            raise self._error('the answer says "attached", but has no spec')
        return FetchStatus.ATTACHED

    def _refusal(self, response: aiohttp.ClientResponse, raw: bytes) -> FetchError:
        reason = f"HTTP status {_status_text(response.status)}"
        if 300 <= response.status < 400 and response.status != HTTPStatus.NOT_MODIFIED:
            reason += " (redirects are not followed)"
        elif said := _said(raw):
            reason += f": {said}"
        if hint := _HINTS.get(response.status):
            reason += f" ({hint})"
        return self._error(
            reason,
            retry_after_s=retry_after(
                response.headers.get("Retry-After"),
                response.headers.get("Date"),
                datetime.now(UTC),
            ),
            lasting=response.status in _LASTING,
        )

    def _error(
        self, reason: str, *, retry_after_s: float | None = None, lasting: bool = False
    ) -> FetchError:
        if self._token:
            reason = reason.replace(self._token, "***")
        return FetchError(
            f'could not get the configuration from control plane "{self._base}": {reason}',
            retry_after_s=retry_after_s,
            lasting=lasting,
        )


def retry_after(value: str | None, date: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, None where it says nothing usable.

    More than `pacing.RETRY_AFTER_MAX_S` counts as that, however many digits it has. A point in
    time is compared with the server's own *date* where it sent one, else with *now*.
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]+\s*", value, re.ASCII):
        return min(float(value), RETRY_AFTER_MAX_S)
    until = _http_date(value)
    if until is None:
        return None
    seconds = (until - (_http_date(date or "") or now)).total_seconds()
    return min(max(0.0, seconds), RETRY_AFTER_MAX_S)


def _http_date(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _base_url(uri: str) -> str:
    """Return *uri* without trailing slashes, if it is one that can be asked."""
    try:
        url = URL(uri)
    except ValueError as error:
        raise SettingsError(f"control plane URI is not valid: {error}") from error
    if url.user is not None or url.password is not None:
        raise SettingsError(
            "control plane URI must not carry a user name or password",
            hint="Put the token into the environment variable NEON_CONTROL_PLANE_TOKEN.",
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError(f'control plane URI "{uri}" is not of the form http(s)://host')
    if url.query_string or url.fragment:
        raise SettingsError(f'control plane URI "{uri}" must not have a query or fragment')
    return str(url).rstrip("/")


def _status_text(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _applied_wait(header: str) -> bool:
    return any(part.strip().startswith("wait=") for part in header.split(","))


def _said(raw: bytes) -> str:
    """Return the server's reason, one bounded line."""
    text = raw[: 16 * MAX_REASON].decode(errors="replace")
    try:
        answer = msgspec.json.decode(raw)
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            text = answer["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:MAX_REASON]
