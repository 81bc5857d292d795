"""The source that is the control plane, asked over HTTP.

An address is asked once per `fetch`: when to ask again is the caller's decision; this module tells
what kind of failure it was. Where several addresses are given, the one that answered last is asked;
the next one at once if it cannot be reached or answers 503. The bearer token appears in no error.

Source of the protocol: the reference's `GET /compute/api/v2/computes/<id>/spec`; `ETag`,
`Prefer: wait` (RFC 7240) and `Retry-After` are additions that a server may ignore.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from compute_common.document.document import MAX_DOCUMENT_BYTES
from compute_common.document.json_text import malformed
from compute_common.errors import SettingsError
from compute_common.http.addresses import base_urls
from compute_common.http.client import HttpAnswer, HttpClient, RefusedError, reason_in, status_text
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.decisions.pacing import RETRY_AFTER_MAX_S
from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus

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


def addresses(uri: str) -> tuple[str, ...]:
    """Return the addresses that *uri*, a comma list, names. Raises SettingsError."""
    return base_urls(
        uri,
        service="control plane",
        example="-p http://127.0.0.1:9898",
        login_hint="Put the token into the environment variable NEON_CONTROL_PLANE_TOKEN.",
    )


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
        on_request: Callable[[str, str], None] = lambda _rpc, _status: None,
    ) -> None:
        """*uri*: an address, or several separated by commas. *on_request* gets (rpc, status such
        as ``200 OK``, or ``unknown``) of each request.

        Raises:
            SettingsError: the URI, the id or the token cannot be used.
        """
        if not compute_id.strip("."):
            raise SettingsError(f'compute ID "{compute_id}" cannot be part of a URL')
        self._addresses = deque(addresses(uri))
        """The one to ask first."""
        self._path = f"/compute/api/v2/computes/{quote(compute_id, safe='')}"
        self.wants_reports = False
        """Whether the last answer asked for reports (``Compute-Reports: 1``)."""
        self.report_missing = False
        """Whether it said that it has none of this compute (``Compute-Reports: 1; missing``)."""
        self._token = token
        self._total_timeout_s = total_timeout_s
        self._client = HttpClient(
            peer="control plane",
            token=token,
            tls=any(base.startswith("https:") for base in self._addresses),
            ca=ca,
            ca_flag="--control-plane-ca",
            max_bytes=MAX_DOCUMENT_BYTES,
            connect_timeout_s=connect_timeout_s,
            on_request=on_request,
        )

    @property
    def name(self) -> str:
        """``control_plane``."""
        return "control_plane"

    async def close(self) -> None:
        """Close the connections; the next fetch would open new ones."""
        await self._client.close()

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Ask each address at most once, until one answers; see `ports.DocumentSource.fetch`.

        Raises:
            FetchError: no usable answer; `lasting` for 401, 403 and 404.
        """
        refusals: dict[str, RefusedError] = {}
        until = asyncio.get_running_loop().time() + self._total_timeout_s
        while True:
            base = self._addresses[0]
            try:
                return await self._ask(base, etag, wait_s)
            except RefusedError as refused:
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
        base = self._addresses[0]
        try:
            answer = await self._client.request(
                "POST",
                f"{base}{self._path}/report",
                rpc=_REPORT_RPC,
                total_s=REPORT_TIMEOUT_S,
                headers={"Content-Type": "application/json"},
                body=body,
                reset_on_timeout=False,  # it must not end a long poll
            )
            if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise _refusal(answer, self._token)
            self.report_missing = False
        except RefusedError as refused:
            raise self._error({base: refused}, "report to") from refused

    async def _ask(self, base: str, etag: str | None, wait_s: int | None) -> Fetched:
        headers = {} if etag is None else {"If-None-Match": etag}
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s}"
        total_s = self._total_timeout_s if wait_s is None else wait_s + LONG_POLL_GRACE_S
        answer = await self._client.request(
            "GET", f"{base}{self._path}/spec", rpc=_RPC, total_s=total_s, headers=headers
        )
        wanted, _, said = answer.headers.get("Compute-Reports", "").partition(";")
        self.wants_reports = wanted.strip() == "1"
        self.report_missing = self.wants_reports and said.strip() == "missing"
        long_polled = applied_wait(answer.headers.get("Preference-Applied", ""))
        if answer.status == HTTPStatus.NOT_MODIFIED and etag is not None:
            return Fetched(
                status=FetchStatus.NOT_MODIFIED,
                etag=etag,
                long_polled=long_polled,
                invites=self.wants_reports,
            )
        if answer.status != HTTPStatus.OK:
            raise _refusal(answer, self._token)
        raw = answer.body
        status = await beside_loop(lambda: _document_status(raw), size=len(raw), name="answer")
        return Fetched(
            status=status,
            raw=raw if status is FetchStatus.ATTACHED else b"",
            etag=answer.headers.get("ETag"),
            long_polled=long_polled,
            invites=self.wants_reports,
        )

    def _error(
        self, refusals: dict[str, RefusedError], what: str = "get the configuration from"
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
        raise RefusedError(said) from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if status == FetchStatus.EMPTY:
        return FetchStatus.EMPTY
    if status != FetchStatus.ATTACHED:
        raise RefusedError('the answer has no status "attached" or "empty"')
    if answer.get("spec") is None:
        raise RefusedError('the answer says "attached", but has no spec')
    return FetchStatus.ATTACHED


def _refusal(answer: HttpAnswer, token: str) -> RefusedError:
    """Return what an answer other than 200 and 304 says."""
    reason = f"HTTP status {status_text(answer.status)}"
    if 300 <= answer.status < 400 and answer.status != HTTPStatus.NOT_MODIFIED:
        reason += " (redirects are not followed)"
    elif said := reason_in(answer.body, token=token):
        reason += f": {said}"
    if hint := _HINTS.get(answer.status):
        reason += f" ({hint})"
    return RefusedError(
        reason,
        retry_after_s=retry_after(
            answer.headers.get("Retry-After"), answer.headers.get("Date"), datetime.now(UTC)
        ),
        lasting=answer.status in _LASTING,
        unavailable=answer.status == HTTPStatus.SERVICE_UNAVAILABLE,
        blameless=answer.status < HTTPStatus.INTERNAL_SERVER_ERROR,
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


def applied_wait(header: str) -> bool:
    """Whether a Preference-Applied header says that the answer was held (RFC 7240)."""
    return any(part.strip().startswith("wait=") for part in header.split(","))
