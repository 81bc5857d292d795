"""Serves the page; what it shows is made by `page` and `compute_page`."""

from __future__ import annotations

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse
from control_plane.decisions.compute_view import compute_view
from control_plane.decisions.fleet_views import fleet_view
from control_plane.http.admin import condition
from control_plane.http.api import ApiCall
from control_plane.http.compute_page import compute_page, missing_page
from control_plane.http.page import fleet_page
from control_plane.http.page_frame import HEADERS, HTML


async def fleet(call: ApiCall) -> ApiResponse:
    """Return the page of the fleet."""
    try:
        wanted = condition(call)
    except RequestError as error:
        return _page(missing_page(str(error)), 400)
    query = call.query.get("q", "").strip()
    overview = call.api.overviews.recent()
    view = fleet_view(overview, call.api.service, query=query, wanted=wanted)
    return _page(fleet_page(view))


async def compute(call: ApiCall) -> ApiResponse:
    """Return the page of a compute."""
    overview, compute_id = call.api.overviews.recent(), call.path["id"]
    if compute_id not in overview.state.computes:
        return _page(missing_page(f'there is no compute "{compute_id}"'), 404)
    return _page(compute_page(compute_view(overview, compute_id)))


def _page(text: str, code: int = 200) -> ApiResponse:
    return ApiResponse(body=text.encode(), code=code, content_type=HTML, headers=dict(HEADERS))
