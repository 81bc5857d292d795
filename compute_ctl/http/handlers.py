"""The routes that read the node's state or tell it what to do.

The ones that read need no SQL, no disk and no control plane. The ones that change something answer
when it has taken effect.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from msgspec import Raw, Struct

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, decode, flag, json_response
from compute_common.text import printable
from compute_ctl.decisions.transitions import Status
from compute_ctl.http.api import Call, Listener
from compute_ctl.http.responses import HealthBody, LsnBody, SyncBody

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MODES: Final = ("fast", "immediate")
TERMINATE_MARGIN_S: Final = 15.0
"""Added to the deadline of the fast stop, for SIGQUIT and the daemon's own shutdown."""
NOT_READY: Final = "postgres does not accept connections"


class _Pushed(Struct):
    """What the external listener requires in a document: without keys it would accept nobody."""

    spec: dict[str, Raw]
    compute_ctl_config: dict[str, Raw]


async def status(call: Call) -> ApiResponse:
    """Return the whole status."""
    return json_response(call.api.node.snapshot())


async def metrics_json(call: Call) -> ApiResponse:
    """Return the durations of the start, under the reference's names."""
    return json_response(call.api.startup.body(call.api.node.server.cluster))


async def metrics(call: Call) -> ApiResponse:
    """Return the metrics for Prometheus."""
    body = call.api.metrics.exposition(call.api.node.snapshot())
    return ApiResponse(body=body, content_type=METRICS_TYPE)


async def livez(call: Call) -> ApiResponse:
    """Answer, which shows that the daemon's event loop runs."""
    return json_response(HealthBody(status="alive"))


async def readyz(call: Call) -> ApiResponse:
    """Check that Postgres accepts connections, whether or not it is in sync."""
    if not call.api.node.snapshot().postgres.ready:
        raise RequestError(503, NOT_READY)
    return json_response(HealthBody(status="ready"))


async def syncz(call: Call) -> ApiResponse:
    """Check that the desired configuration is in force."""
    status = call.api.node.snapshot()
    if not status.config.in_sync:
        reason = status.config.not_in_force or status.error or "it has not been proven yet"
        raise RequestError(503, f"the configuration desired is not in force: {reason}")
    return json_response(SyncBody(status="in sync", proof=status.config.proof))


async def hadron_liveness_probe(call: Call) -> ApiResponse:
    """Answer "ok", as the reference does, if Postgres accepts connections."""
    if not call.api.node.snapshot().postgres.ready:
        raise RequestError(500, NOT_READY)
    return ApiResponse(body=msgspec.json.encode("ok"))


async def configure(call: Call) -> ApiResponse:
    """Apply a pushed document; answer when it is proven."""
    node = call.api.node
    if call.listener == Listener.EXTERNAL:
        decode(call.body, _Pushed)
    await node.pushes.configure(call.body, who=call.who, timeout_s=call.api.deadlines.configure)
    return json_response(node.snapshot())


async def rollback(call: Call) -> ApiResponse:
    """Return to the generation before the applied one; answer when it is proven."""
    node = call.api.node
    await node.pushes.roll_back(
        who=call.who,
        old_upstream=flag(call, "old_upstream"),
        timeout_s=call.api.deadlines.configure,
    )
    return json_response(node.snapshot())


async def terminate(call: Call) -> ApiResponse:
    """Stop Postgres and the daemon; answer when Postgres has stopped."""
    mode = call.query.get("mode", "fast")
    if mode not in MODES:
        raise RequestError(
            400, f'parameter "mode" must be fast or immediate, not "{printable(mode, 40)}"'
        )
    node = call.api.node
    if node.status is Status.TERMINATED:
        return json_response(LsnBody(lsn=node.server.lsn), 201)
    node.terminate(mode, who=call.who)
    deadlines = call.api.deadlines
    limit = deadlines.stop_fast + deadlines.stop_safekeepers + TERMINATE_MARGIN_S
    try:
        await asyncio.wait_for(node.stopped.wait(), limit)
    except TimeoutError:
        raise RequestError(504, f"postgres has not ended within {limit:g} s") from None
    return json_response(LsnBody(lsn=node.server.lsn))
