"""`/livez`, `/readyz` and `/metrics`."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from compute_common.http.api import ApiResponse, json_response
from control_plane.http.api import ApiCall
from control_plane.http.holds import unavailable

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class HealthBody(Struct, frozen=True, kw_only=True):
    """The answer to a health check that succeeds."""

    status: str


async def livez(call: ApiCall) -> ApiResponse:
    """Answer, which shows that the event loop runs."""
    return json_response(HealthBody(status="alive"))


async def readyz(call: ApiCall) -> ApiResponse:
    """Check that the store answers; its content was loaded before the listeners were opened."""
    if call.api.registry.store_failure:
        raise unavailable(f"the store does not answer: {call.api.registry.store_failure}")
    return json_response(HealthBody(status="ready"))


async def metrics(call: ApiCall) -> ApiResponse:
    """Return the metrics for Prometheus."""
    return ApiResponse(body=call.api.metrics.exposition(call.api), content_type=METRICS_TYPE)
