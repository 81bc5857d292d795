"""The routes of Neon's file cache: load the state that was kept, keep it, and how that went."""

from __future__ import annotations

from typing import Final

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, Parameter, json_response
from compute_common.http.bodies import ErrorBody
from compute_ctl.decisions.file_cache import OffloadState, PrewarmState
from compute_ctl.http.api import Call, FileCacheService, Listener, Route

PREWARM: Final = "/lfc/prewarm"
OFFLOAD: Final = "/lfc/offload"
_LISTENERS: Final = frozenset({Listener.SOCKET, Listener.EXTERNAL})
_STARTED: Final[dict[int, type[ErrorBody] | str]] = {
    202: "text/plain",
    **dict.fromkeys((429, 501, 503), ErrorBody),
}


async def start_prewarm(call: Call) -> ApiResponse:
    """Begin to prewarm."""
    await _service(call).start_prewarm(call.query.get("from_endpoint"))
    return ApiResponse(body=b"", code=202, content_type="text/plain")


async def prewarm(call: Call) -> ApiResponse:
    """Return how far the last prewarm is."""
    return json_response(_service(call).prewarm)


async def cancel_prewarm(call: Call) -> ApiResponse:
    """End the prewarm under way."""
    _service(call).cancel_prewarm()
    return ApiResponse(body=b"", code=202, content_type="text/plain")


async def start_offload(call: Call) -> ApiResponse:
    """Begin to offload."""
    await _service(call).start_offload()
    return ApiResponse(body=b"", code=202, content_type="text/plain")


async def offload(call: Call) -> ApiResponse:
    """Return how far the last offload is."""
    return json_response(_service(call).offload)


def _service(call: Call) -> FileCacheService:
    cache = call.api.file_cache
    if cache is None:
        raise RequestError(501, "this is not implemented here")
    cache.require()
    return cache


ROUTES: Final = (
    Route(
        method="POST",
        path=PREWARM,
        listeners=_LISTENERS,
        run=start_prewarm,
        text="Load the state of the file cache from the endpoint storage.",
        answers=_STARTED,
        query=(
            Parameter(
                name="from_endpoint",
                schema={"type": "string", "minLength": 1},
                text="Another endpoint of the timeline, whose state is loaded.",
            ),
        ),
    ),
    Route(
        method="GET",
        path=PREWARM,
        listeners=_LISTENERS,
        run=prewarm,
        text="How far the last prewarm is.",
        answers={200: PrewarmState, 501: ErrorBody},
        quiet=True,
    ),
    Route(
        method="DELETE",
        path=PREWARM,
        listeners=_LISTENERS,
        run=cancel_prewarm,
        text="End the prewarm that is under way, if there is one.",
        answers={202: "text/plain", 501: ErrorBody},
    ),
    Route(
        method="POST",
        path=OFFLOAD,
        listeners=_LISTENERS,
        run=start_offload,
        text="Keep the state of the file cache in the endpoint storage.",
        answers=_STARTED,
    ),
    Route(
        method="GET",
        path=OFFLOAD,
        listeners=_LISTENERS,
        run=offload,
        text="How far the last offload is.",
        answers={200: OffloadState, 501: ErrorBody},
        quiet=True,
    ),
)
