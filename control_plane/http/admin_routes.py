"""The table of the routes of admin API and page, and the document about all routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from compute_common.document.document import MAX_DOCUMENT_BYTES
from compute_common.http import openapi
from compute_common.http.api import KIB, ApiResponse, Parameter, RequestBody, Route
from compute_common.http.bodies import ErrorBody
from control_plane.decisions.fleet import Condition
from control_plane.decisions.views import (
    ComputesView,
    ComputeView,
    HistoryView,
    NodesView,
    StatusView,
    VerdictsView,
)
from control_plane.http import admin, pages
from control_plane.http.api import ApiCall, ApiRoute, Listener
from control_plane.http.bodies import ChangeBody, ReconcileBody
from control_plane.http.page_frame import HTML
from control_plane.http.routes import PUBLIC_ROUTES

ADMIN: Final = frozenset({Listener.SOCKET.value, Listener.ADMIN.value})
PAGE: Final = ADMIN | {Listener.PAGE.value}
JSON_OBJECT: Final = "application/json"
CHANGED: Final[Mapping[int, type[Struct] | str]] = {
    200: ChangeBody,
    422: ErrorBody,
    503: ErrorBody,
}
SETTINGS_LIMIT: Final = 256 * KIB
DRY_RUN: Final = Parameter(
    name="dry_run", schema={"type": "boolean"}, text="Say what would change, and change nothing."
)
CREATE: Final = Parameter(
    name="create", schema={"type": "boolean"}, text="Make the compute where there is none."
)
PUSH_URL: Final = Parameter(
    name="push_url",
    schema={"type": "string", "format": "uri"},
    text="Base URL of a daemon that does not wait for changes (Neon's own): it is told by "
    "`POST /configure`.",
)
REMOVE: Final = Parameter(
    name="remove",
    schema={"type": "string"},
    text="What the compute shall not have any more: `push_url`, `token`, or both with a comma.",
)
LIMIT: Final = Parameter(
    name="limit",
    schema={"type": "integer", "minimum": 1, "maximum": admin.MAX_LIMIT,
            "default": admin.DEFAULT_LIMIT},
    text="How many rows at most.",
)  # fmt: skip
SEARCH: Final = (
    Parameter(
        name="q",
        schema={"type": "string"},
        text="A part of the names of computes, or a whole tenant ID.",
    ),
    Parameter(
        name="condition",
        schema={"type": "string", "enum": list(Condition)},
        text="Only computes in this condition.",
    ),
)


async def _openapi(call: ApiCall) -> ApiResponse:
    return ApiResponse(body=openapi.document_json(ROUTES, ABOUT))


ADMIN_ROUTES: Final[tuple[ApiRoute, ...]] = (
    Route(
        method="GET",
        path="/v1/status",
        listeners=ADMIN,
        run=admin.status,
        text="The control plane and its fleet in numbers.",
        answers={200: StatusView},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/v1/computes",
        listeners=ADMIN,
        run=admin.computes,
        text="Computes: those that do not run with what is published first, then by name.",
        answers={200: ComputesView},
        query=(*SEARCH, LIMIT),
        quiet=True,
    ),
    Route(
        method="GET",
        path="/v1/computes/{id}",
        listeners=ADMIN,
        run=admin.compute,
        text="Everything that is known of a compute, with its timeline.",
        answers={200: ComputeView, 404: ErrorBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/v1/computes/{id}/document",
        listeners=ADMIN,
        run=admin.document,
        text="The document of a compute as it was put, secrets included.",
        answers={200: JSON_OBJECT, 404: ErrorBody},
    ),
    Route(
        method="PUT",
        path="/v1/computes/{id}",
        listeners=ADMIN,
        run=admin.put,
        text="Put the document of a compute, known or new, and publish it. The header "
        "`Compute-Token` sets a token that opens this document only.",
        answers=CHANGED,
        body=RequestBody(limit=MAX_DOCUMENT_BYTES, required=True),
        query=(DRY_RUN, PUSH_URL, REMOVE),
    ),
    Route(
        method="DELETE",
        path="/v1/computes/{id}",
        listeners=ADMIN,
        run=admin.delete,
        text="Forget a compute.",
        answers={**CHANGED, 404: ErrorBody},
        query=(DRY_RUN,),
    ),
    Route(
        method="PATCH",
        path="/v1/computes/{id}/settings",
        listeners=ADMIN,
        run=admin.patch_settings,
        text="Set settings in the document of a compute; null removes one.",
        answers={**CHANGED, 404: ErrorBody},
        body=RequestBody(limit=SETTINGS_LIMIT, required=True),
        query=(DRY_RUN, CREATE, PUSH_URL, REMOVE),
    ),
    Route(
        method="GET",
        path="/v1/nodes",
        listeners=ADMIN,
        run=admin.nodes,
        text="Pageservers and other suspected servers, those with trouble first.",
        answers={200: NodesView},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/v1/verdicts",
        listeners=ADMIN,
        run=admin.verdicts,
        text="The last verdicts, newest first.",
        answers={200: VerdictsView},
        query=(LIMIT,),
        quiet=True,
    ),
    Route(
        method="GET",
        path="/v1/history",
        listeners=ADMIN,
        run=admin.history,
        text="What has happened, newest first, about all that is named.",
        answers={200: HistoryView},
        query=(
            Parameter(name="compute", schema={"type": "string"}, text="Of this compute."),
            Parameter(name="tenant", schema={"type": "string"}, text="Of this tenant."),
            Parameter(name="node", schema={"type": "integer"}, text="Of this node."),
            LIMIT,
        ),
        quiet=True,
    ),
    Route(
        method="POST",
        path="/v1/reconcile",
        listeners=ADMIN,
        run=admin.reconcile,
        text="Compare all documents with the storage controller now.",
        answers={200: ReconcileBody, 409: ErrorBody, 503: ErrorBody},
    ),
    Route(
        method="GET",
        path="/openapi.json",
        listeners=ADMIN,
        run=_openapi,
        text="This document.",
        answers={200: JSON_OBJECT},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/",
        listeners=PAGE,
        run=pages.fleet,
        text="The page of the fleet.",
        answers={200: HTML, 400: HTML},
        query=SEARCH,
        quiet=True,
    ),
    Route(
        method="GET",
        path="/computes/{id}",
        listeners=PAGE,
        run=pages.compute,
        text="The page of a compute.",
        answers={200: HTML, 404: HTML},
        quiet=True,
    ),
)
ROUTES: Final = (*PUBLIC_ROUTES, *ADMIN_ROUTES)
"""Everything that is served."""
ABOUT: Final = openapi.About(
    title="compute_control_plane",
    description="`x-doors` says where a route is served: the public port, the admin socket, the "
    "admin port, or the port of the page; elsewhere it answers 403.",
    listeners=[one.value for one in Listener],
    with_token=[Listener.PUBLIC.value, Listener.ADMIN.value],
    reasons={409: "contradicts itself or what is known", 423: "stored, not applied everywhere yet"},
)
