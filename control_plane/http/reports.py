"""`POST /compute/api/v2/computes/ID/report`: what a compute says of itself."""

from __future__ import annotations

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, decode
from control_plane.decisions.model import Report
from control_plane.decisions.report_limits import bounded
from control_plane.http.api import ApiCall


async def report(call: ApiCall) -> ApiResponse:
    """Take the report."""
    compute_id, taken = call.path["id"], bounded(decode(call.body, Report))
    if compute_id not in call.api.registry.computes:
        raise RequestError(404, f'unknown compute "{compute_id}"')
    call.api.registry.presence.reported(compute_id, taken)
    return ApiResponse(body=b"{}\n")
