"""The table of routes, and the listeners that serve them.

`openapi` and the check of docs/http-api.md read the same table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compute_common.document.document import MAX_DOCUMENT_BYTES
from compute_common.http.api import KIB, ApiResponse, Parameter, RequestBody, json_response
from compute_common.http.bodies import ErrorBody, error_body
from compute_common.http.router import Router, no_such_route
from compute_ctl.decisions.status import RefreshBody, StatusBody
from compute_ctl.http import catalog, file_cache, handlers, openapi, promote, refresh
from compute_ctl.http.api import Api, Call, Listener, Route
from compute_ctl.http.responses import (
    AckBody,
    ComputeMetricsBody,
    ExtensionBody,
    GrantBody,
    HealthBody,
    LsnBody,
    PromotionBody,
    PromotionErrorBody,
    SyncBody,
)

LOCAL: Final = frozenset({Listener.LOOPBACK, Listener.SOCKET})
EVERYWHERE: Final = frozenset(Listener)
NOT_LOOPBACK: Final = frozenset({Listener.SOCKET, Listener.EXTERNAL})

JSON_OBJECT: Final = "application/json"
NEEDS_POSTGRES: Final = dict.fromkeys((412, 501, 503, 504), ErrorBody)


async def _openapi(call: Call) -> ApiResponse:
    return ApiResponse(body=openapi.document_json(ROUTES))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/refresh_configuration",
        listeners=LOCAL,
        run=refresh.refresh,
        text="Fetch the configuration again and apply it if it changed. Answers as soon as the "
        "request is recorded, or, with `wait`, when an attempt that began after it has ended.",
        answers={200: RefreshBody, 412: ErrorBody, 422: ErrorBody, 503: ErrorBody},
        body=RequestBody(limit=64 * KIB, model=refresh.WorkerReport),
        query=(
            Parameter(
                name="wait",
                schema={"type": "number", "minimum": 0, "maximum": refresh.MAX_WAIT_S},
                text="Seconds to wait for the outcome.",
            ),
            Parameter(
                name="force",
                schema={"type": "boolean"},
                text="Try a quarantined document again, do not honour Retry-After, and let a "
                "document leave out tenant, timeline or servers. "
                "Unix socket only.",
            ),
        ),
        by_worker=True,
    ),
    Route(
        method="POST",
        path="/configuration_ack",
        listeners=LOCAL,
        run=refresh.acknowledge,
        text="Postgres acknowledges the generation of the configuration that it runs with.",
        answers={200: AckBody, 403: ErrorBody, 422: ErrorBody},
        body=RequestBody(limit=64 * KIB, required=True, model=refresh.AckReport),
        by_worker=True,
    ),
    Route(
        method="POST",
        path="/configure",
        listeners=NOT_LOOPBACK,
        run=handlers.configure,
        text="Push a document. Answers when Postgres has proven that it runs with it.",
        answers={200: StatusBody, **dict.fromkeys((409, 412, 422, 504), ErrorBody)},
        body=RequestBody(limit=MAX_DOCUMENT_BYTES, required=True),
    ),
    Route(
        method="POST",
        path="/rollback",
        listeners=frozenset({Listener.SOCKET}),
        run=handlers.rollback,
        text="Quarantine the applied document and return to the generation before it. Answers "
        "when Postgres has proven that it runs with it.",
        answers={200: StatusBody, 409: ErrorBody, 412: ErrorBody, 504: ErrorBody},
        query=(
            Parameter(
                name="old_upstream",
                schema={"type": "boolean"},
                text="With the servers of that generation instead of the newest.",
            ),
        ),
    ),
    Route(
        method="POST",
        path="/promote",
        listeners=NOT_LOOPBACK,
        run=promote.promote,
        text="Make a primary of a standby. Answers when Postgres has proven that it runs with "
        "the document. Nobody stops the old primary.",
        answers={
            200: PromotionBody,
            **dict.fromkeys((409, 412, 500, 503, 504), PromotionErrorBody),
            422: ErrorBody,
        },
        body=RequestBody(limit=MAX_DOCUMENT_BYTES, required=True, model=promote.PromotionRequest),
        query=(
            Parameter(
                name="wait",
                schema={"type": "number", "minimum": 0, "maximum": refresh.MAX_WAIT_S},
                text="Seconds for the log to be replayed up to `wal_flush_lsn`; 60 unless told.",
            ),
        ),
    ),
    Route(
        method="POST",
        path="/terminate",
        listeners=NOT_LOOPBACK,
        run=handlers.terminate,
        text="Stop Postgres, then the daemon. Answers when Postgres has ended.",
        answers={200: LsnBody, 201: LsnBody, 504: ErrorBody},
        query=(
            Parameter(
                name="mode",
                schema={"type": "string", "enum": list(handlers.MODES), "default": "fast"},
                text="How Postgres is stopped.",
            ),
        ),
    ),
    Route(
        method="GET",
        path="/status",
        listeners=EVERYWHERE,
        run=handlers.status,
        text="The whole status: configuration, refresh requests, Postgres.",
        answers={200: StatusBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        listeners=EVERYWHERE,
        open=True,
        run=handlers.metrics,
        text="Metrics for Prometheus.",
        answers={200: "text/plain"},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/livez",
        listeners=EVERYWHERE,
        open=True,
        run=handlers.livez,
        text="Whether the daemon is alive.",
        answers={200: HealthBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/readyz",
        listeners=EVERYWHERE,
        open=True,
        run=handlers.readyz,
        text="Whether Postgres accepts connections.",
        answers={200: HealthBody, 503: ErrorBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/syncz",
        listeners=EVERYWHERE,
        open=True,
        run=handlers.syncz,
        text="Whether the desired configuration is in force.",
        answers={200: SyncBody, 503: ErrorBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/hadron_liveness_probe",
        listeners=NOT_LOOPBACK,
        run=handlers.hadron_liveness_probe,
        text="Neon's liveness probe: whether Postgres accepts connections.",
        answers={200: JSON_OBJECT},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/metrics.json",
        listeners=NOT_LOOPBACK,
        run=handlers.metrics_json,
        text="Durations of the start, under Neon's names.",
        answers={200: ComputeMetricsBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/dbs_and_roles",
        listeners=NOT_LOOPBACK,
        run=catalog.dbs_and_roles,
        text="Databases and roles, with their password verifiers.",
        answers={200: JSON_OBJECT, **NEEDS_POSTGRES},
    ),
    Route(
        method="GET",
        path="/database_schema",
        listeners=NOT_LOOPBACK,
        run=catalog.database_schema,
        text="The schema of a database as pg_dump writes it: SQL, whatever the content type says.",
        answers={200: JSON_OBJECT, 404: ErrorBody, **NEEDS_POSTGRES},
        query=(
            Parameter(
                name="database",
                schema={"type": "string", "minLength": 1},
                text="Its name.",
                required=True,
            ),
        ),
    ),
    Route(
        method="GET",
        path="/insights",
        listeners=NOT_LOOPBACK,
        run=catalog.insights,
        text="pg_stat_statements: JSON in a JSON string.",
        answers={200: JSON_OBJECT, **NEEDS_POSTGRES},
    ),
    Route(
        method="POST",
        path="/check_writability",
        listeners=NOT_LOOPBACK,
        run=catalog.check_writability,
        text="Write a row. A full disk is not an error.",
        answers={200: JSON_OBJECT, **NEEDS_POSTGRES},
    ),
    Route(
        method="POST",
        path="/extensions",
        listeners=NOT_LOOPBACK,
        opens=True,
        run=catalog.extensions,
        text="Create an extension, or update it to another version.",
        answers={201: ExtensionBody, 404: ErrorBody, 422: ErrorBody, **NEEDS_POSTGRES},
        body=RequestBody(limit=64 * KIB, required=True, model=catalog.ExtensionRequest),
    ),
    Route(
        method="POST",
        path="/grants",
        listeners=NOT_LOOPBACK,
        opens=True,
        run=catalog.grants,
        text="Grant privileges on a schema.",
        answers={201: GrantBody, 404: ErrorBody, 422: ErrorBody, **NEEDS_POSTGRES},
        body=RequestBody(limit=64 * KIB, required=True, model=catalog.GrantRequest),
    ),
    *file_cache.ROUTES,
    Route(
        method="GET",
        path="/openapi.json",
        listeners=EVERYWHERE,
        run=_openapi,
        text="This API as an OpenAPI document.",
        answers={200: JSON_OBJECT},
        quiet=True,
    ),
)

NOT_OURS: Final = frozenset({"/autoscaling_metrics", "/failpoints"})
"""Routes of Neon's compute_ctl that are not implemented here: 501."""


def _unknown(path: str) -> ApiResponse:
    if path in NOT_OURS or path.startswith("/extension_server/"):
        return json_response(error_body(f"{path} is not implemented here"), 501)
    return no_such_route(path)


def router(*, opened: bool = False) -> Router[Api]:
    """Return what finds the routes; *opened*: also on loopback those marked `opens`."""
    routes = (
        replace(one, listeners=one.listeners | {Listener.LOOPBACK}) if opened and one.opens else one
        for one in ROUTES
    )
    return Router(routes, labels={one: one.label for one in Listener}, unknown=_unknown)


find: Final = router().find
