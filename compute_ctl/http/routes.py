"""The one table of routes: what may be asked, at which listener.

`openapi` and the check of docs/http-api.md read the same table.
"""

from __future__ import annotations

from typing import Final

from compute_ctl.document.spec import MAX_DOCUMENT_BYTES
from compute_ctl.http import catalog, control, openapi, reads, refresh
from compute_ctl.http.api import (
    KIB,
    ApiResponse,
    Call,
    Listener,
    Parameter,
    RequestBody,
    Route,
    json_response,
)
from compute_ctl.http.responses import (
    AckBody,
    ComputeMetricsBody,
    ErrorBody,
    ExtensionBody,
    GrantBody,
    HealthBody,
    LsnBody,
    RefreshBody,
    StatusBody,
    SyncBody,
)
from compute_ctl.http.views import error_body

LOCAL: Final = frozenset({Listener.LOOPBACK, Listener.SOCKET})
EVERYWHERE: Final = frozenset(Listener)
NOT_LOOPBACK: Final = frozenset({Listener.SOCKET, Listener.EXTERNAL})

JSON_OBJECT: Final = "application/json"
NEEDS_POSTGRES: Final = dict.fromkeys((412, 501, 503, 504), ErrorBody)


async def _openapi(call: Call) -> ApiResponse:
    return ApiResponse(body=openapi.document_bytes(ROUTES))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/refresh_configuration",
        listeners=LOCAL,
        run=refresh.refresh,
        text="Look at the configuration again, and apply what is new. Answers as soon as the "
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
        text="Postgres's word for which generation of the configuration it runs.",
        answers={200: AckBody, 403: ErrorBody, 422: ErrorBody},
        body=RequestBody(limit=64 * KIB, required=True, model=refresh.AckReport),
        by_worker=True,
    ),
    Route(
        method="POST",
        path="/configure",
        listeners=NOT_LOOPBACK,
        run=control.configure,
        text="Push a document. Answers when Postgres has proven that it runs with it.",
        answers={
            200: StatusBody,
            409: ErrorBody,
            412: ErrorBody,
            422: ErrorBody,
            504: ErrorBody,
        },
        body=RequestBody(limit=MAX_DOCUMENT_BYTES, required=True),
    ),
    Route(
        method="POST",
        path="/rollback",
        listeners=frozenset({Listener.SOCKET}),
        run=control.rollback,
        text="Quarantine what is applied, and bring the generation before it into force. Answers "
        "when Postgres has proven that it runs with it.",
        answers={200: StatusBody, 409: ErrorBody, 412: ErrorBody, 504: ErrorBody},
        query=(
            Parameter(
                name="old_upstream",
                schema={"type": "boolean"},
                text="With the servers of that time, and not the newest.",
            ),
        ),
    ),
    Route(
        method="POST",
        path="/terminate",
        listeners=NOT_LOOPBACK,
        run=control.terminate,
        text="Stop Postgres, then the daemon. Answers when Postgres has ended.",
        answers={200: LsnBody, 201: LsnBody, 504: ErrorBody},
        query=(
            Parameter(
                name="mode",
                schema={"type": "string", "enum": list(control.MODES), "default": "fast"},
                text="How Postgres is stopped.",
            ),
        ),
    ),
    Route(
        method="GET",
        path="/status",
        listeners=EVERYWHERE,
        run=reads.status,
        text="Everything: status, the three facts, suspicion, the last attempt, Postgres.",
        answers={200: StatusBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        listeners=EVERYWHERE,
        open=True,
        run=reads.metrics,
        text="Metrics for Prometheus.",
        answers={200: "text/plain"},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/livez",
        listeners=EVERYWHERE,
        open=True,
        run=reads.livez,
        text="Whether the daemon is alive.",
        answers={200: HealthBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/readyz",
        listeners=EVERYWHERE,
        open=True,
        run=reads.readyz,
        text="Whether Postgres accepts connections.",
        answers={200: HealthBody, 503: ErrorBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/syncz",
        listeners=EVERYWHERE,
        open=True,
        run=reads.syncz,
        text="Whether the configuration desired is the one in force.",
        answers={200: SyncBody, 503: ErrorBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/hadron_liveness_probe",
        listeners=NOT_LOOPBACK,
        run=reads.hadron_liveness_probe,
        text="The reference's probe: whether Postgres accepts connections.",
        answers={200: JSON_OBJECT},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/metrics.json",
        listeners=NOT_LOOPBACK,
        run=reads.metrics_json,
        text="How long the start took, under the reference's names.",
        answers={200: ComputeMetricsBody},
        quiet=True,
    ),
    Route(
        method="GET",
        path="/dbs_and_roles",
        listeners=NOT_LOOPBACK,
        run=catalog.dbs_and_roles,
        text="Databases and roles, with the verifiers of their passwords.",
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
        text="Write a row. A disk that is full is no error.",
        answers={200: JSON_OBJECT, **NEEDS_POSTGRES},
    ),
    Route(
        method="POST",
        path="/extensions",
        listeners=NOT_LOOPBACK,
        opens=True,
        run=catalog.extensions,
        text="Make an extension, or bring it to another version.",
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

NOT_OURS: Final = frozenset(
    {
        "/autoscaling_metrics",
        "/failpoints",
        "/lfc/offload",
        "/lfc/prewarm",
        "/promote",
    }
)
"""Routes of Neon's compute_ctl that this one does not serve: 501."""

_BY_PATH: Final[dict[str, dict[str, Route]]] = {}
for _route in ROUTES:
    _BY_PATH.setdefault(_route.path, {})[_route.method] = _route


def find(
    method: str, path: str, listener: Listener, *, opened: bool = False
) -> Route | ApiResponse:
    """Return the route asked for, or what to answer where there is none at this listener.

    *opened*: what may be served at more listeners than usual is.
    """
    methods = _BY_PATH.get(path)
    if methods is None:
        if path in NOT_OURS or path.startswith("/extension_server/"):
            return json_response(error_body(f"{path} is not implemented here"), 501)
        return json_response(error_body("no such route"), 404)
    route = methods.get("GET" if method == "HEAD" else method)
    if route is None:
        answer = json_response(error_body(f"method {method} is not allowed here"), 405)
        allowed = sorted(methods) + (["HEAD"] if "GET" in methods else [])
        answer.headers["Allow"] = ", ".join(allowed)
        return answer
    if listener not in route.listeners and not (opened and route.opens):
        served = " and ".join(sorted(one.label for one in route.listeners))
        return json_response(
            error_body(f"{path} is served on {served}, not on {listener.label}"), 403
        )
    return route
