"""The routes that only show something. None needs SQL, the disk or the control plane."""

from __future__ import annotations

from typing import Final

import msgspec

from compute_ctl.errors import RequestError
from compute_ctl.http.api import ApiResponse, Call, json_response
from compute_ctl.http.responses import HealthBody, SyncBody
from compute_ctl.http.views import status_body

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def status(call: Call) -> ApiResponse:
    """Show everything."""
    return json_response(status_body(call.api.node.snapshot()))


async def metrics_json(call: Call) -> ApiResponse:
    """Show how long the start took, under the reference's names."""
    return json_response(call.api.startup.body())


async def metrics(call: Call) -> ApiResponse:
    """Show the metrics for Prometheus."""
    body = call.api.metrics.exposition(call.api.node.snapshot())
    return ApiResponse(body=body, content_type=METRICS_TYPE)


async def livez(call: Call) -> ApiResponse:
    """Say that the daemon's loop turns."""
    return json_response(HealthBody(status="alive"))


async def readyz(call: Call) -> ApiResponse:
    """Say whether Postgres accepts connections; never whether it is in sync."""
    if not call.api.node.snapshot().postgres_ready:
        raise RequestError(503, "postgres does not accept connections")
    return json_response(HealthBody(status="ready"))


async def syncz(call: Call) -> ApiResponse:
    """Say whether the configuration desired is the one in force."""
    snapshot = call.api.node.snapshot()
    if not snapshot.in_sync:
        reason = snapshot.not_in_force or snapshot.error or "it has not been proven yet"
        raise RequestError(503, f"the configuration desired is not in force: {reason}")
    return json_response(SyncBody(status="in sync", proof=snapshot.proof))


async def hadron_liveness_probe(call: Call) -> ApiResponse:
    """Say "ok" in the reference's words if Postgres accepts connections."""
    if not call.api.node.snapshot().postgres_ready:
        raise RequestError(500, "postgres does not accept connections")
    return ApiResponse(body=msgspec.json.encode("ok"))
