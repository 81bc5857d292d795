"""`POST /compute/api/v2/computes/ID/report`: what a compute says of itself."""

from __future__ import annotations

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, decode
from control_plane.decisions.model import Report
from control_plane.decisions.report_limits import bounded
from control_plane.http.api import ApiCall


async def report(call: ApiCall) -> ApiResponse:
    """Take the report."""
    api, compute_id = call.api, call.path["id"]
    if compute_id not in api.registry.computes:
        raise RequestError(404, f'unknown compute "{compute_id}"')
    if not api.report_rate.allows(compute_id, api.clock.monotonic()):
        raise RequestError(429, f'too many reports of compute "{compute_id}"', retry_after_s=1)
    api.registry.presence.reported(compute_id, bounded(decode(call.body, Report)))
    return ApiResponse(body=b"{}\n")
