"""The routes that the worker in Postgres calls: refresh requests and acknowledgements."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from msgspec import Struct

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, decode, flag, json_response
from compute_common.http.auth import user_name
from compute_common.log import escape
from compute_common.text import printable
from compute_ctl.decisions.model import AckAnswer, AckMessage, Outcome, RequestOrigin, Suspicion
from compute_ctl.decisions.status import RefreshBody
from compute_ctl.http.api import Api, Call, Listener
from compute_ctl.http.responses import AckBody

MAX_WAIT_S: Final = 600.0
MAX_WAITING: Final = 64
LOOK_MARGIN_S: Final = 1.0
"""Added to the deadline of the drift check, for it to begin."""
TEXT_LIMIT: Final = 200
MANUAL: Final = "manual"
"""Source in a report with which the worker forwards a person's request."""


class WorkerReport(Struct, frozen=True, kw_only=True):
    """The body of a refresh request; all of it is optional."""

    source: str = ""
    """`pageserver`, `safekeeper`, `primary` or `manual`."""
    shard: int | None = None
    trouble: str = msgspec.field(default="", name="class")
    sqlstate: str = ""
    text: str = ""
    count: int = 1
    running: str = ""
    """Marker of the generation that Postgres runs with."""

    def suspicion(self) -> Suspicion | None:
        """Return the suspicion that it reports, if any."""
        if not (self.source or self.trouble or self.text):
            return None
        return Suspicion(
            source=escape(self.source[:TEXT_LIMIT]),
            shard=self.shard if self.shard is not None and self.shard >= 0 else None,
            trouble=escape(self.trouble[:TEXT_LIMIT]),
            sqlstate=escape(self.sqlstate[:5]),
            text=escape(self.text[:TEXT_LIMIT]),
            count=self.count,
        )


class AckReport(Struct, frozen=True, kw_only=True):
    """The body of an acknowledgement."""

    marker: str
    map_sha256: str = ""
    shard_count: int = 0
    stripe_size: int = 0
    pid: int = 0
    suspects: bool | None = None
    """Whether the worker reports trouble with any upstream server."""
    not_reloaded: tuple[str, ...] = ()
    """What the postmaster logged that it could not reload: ``ssl``, ``hba``, ``ident``."""


async def refresh(call: Call) -> ApiResponse:
    """Record a refresh request; with `wait`, answer with its outcome."""
    wait_s = wait_seconds(call)
    force = flag(call, "force")
    if force and call.listener == Listener.LOOPBACK:
        raise RequestError(403, f'parameter "force" is only taken on {Listener.SOCKET.label}')
    report = decode(call.body, WorkerReport) if call.body else WorkerReport()
    source = _source(call, report)
    node = call.api.node
    async with _waiting_slot(call.api, wanted=wait_s is not None):
        ticket = node.request_refresh(
            who="postgres" if report.source or source is RequestOrigin.WORKER else call.who,
            source=source,
            suspicion=report.suspicion(),
            force=force,
            marker=report.running,
        )
        if wait_s is None:
            answer = json_response(RefreshBody.receipt(node.status, ticket))
            await _yield_to_fetch()
            return answer
        outcome = await node.requests.wait(ticket.refresh_id, wait_s)
        if outcome is not Outcome.TIMEOUT:
            await node.drift_checks.ended(call.api.deadlines.sql_probe + LOOK_MARGIN_S)
    return json_response(RefreshBody.of(node.snapshot(), ticket, outcome))


async def acknowledge(call: Call) -> ApiResponse:
    """Record the generation that Postgres runs with.

    A group may be allowed to use the unix socket, but Postgres runs as the daemon's own user.
    """
    if call.listener == Listener.SOCKET and call.who not in (user_name(0), user_name(os.geteuid())):
        raise RequestError(403, f"{call.who} is not the user of postgres")
    report = decode(call.body, AckReport)
    message = AckMessage(
        marker=report.marker,
        map_sha256=report.map_sha256,
        shard_count=report.shard_count,
        stripe_size=report.stripe_size,
        pid=report.pid,
        suspects=report.suspects,
        not_reloaded=report.not_reloaded,
    )
    answer = call.api.node.acknowledge(message)
    if answer is AckAnswer.UNKNOWN:
        raise RequestError(403, "this marker was not written by this daemon")
    return json_response(AckBody(stale=answer is AckAnswer.STALE))


async def _yield_to_fetch() -> None:
    """Let the fetch start before the response is sent, since only the fetch is urgent.

    The reconciler needs one turn of the event loop to wake up, and its fetch another to begin.
    """
    for _ in range(2):
        await asyncio.sleep(0)


def _source(call: Call, report: WorkerReport) -> RequestOrigin:
    """Distinguish the worker from a person, who may also use the worker, through SQL.

    Without the header, a POST without body, query and User-Agent counts as Neon's library, which
    sends one for each failed attempt and must not be treated like an operator.
    """
    named = call.headers.get("X-Refresh-Source")
    if named is not None:
        worker = named.strip().lower() == "worker" and report.source != MANUAL
        return RequestOrigin.WORKER if worker else RequestOrigin.OPERATOR
    bare = not (call.body or call.query or call.headers.get("User-Agent"))
    return (
        RequestOrigin.WORKER
        if bare and call.listener == Listener.LOOPBACK
        else RequestOrigin.OPERATOR
    )


def wait_seconds(call: Call) -> float | None:
    """Return the parameter `wait`, None where it is not given. Raises RequestError."""
    text = call.query.get("wait")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAX_WAIT_S:
        must = f"must be a number of seconds from 0 to {MAX_WAIT_S:g}"
        raise RequestError(400, f'parameter "wait" {must}, not "{printable(text, 40)}"')
    return seconds


@asynccontextmanager
async def _waiting_slot(api: Api, *, wanted: bool) -> AsyncIterator[None]:
    """Limit the callers that wait, so that they cannot use up all connections."""
    if not wanted:
        yield
        return
    if api.waiting >= MAX_WAITING:
        raise RequestError(503, f"{MAX_WAITING} callers already wait for an outcome")
    api.waiting += 1
    try:
        yield
    finally:
        api.waiting -= 1
