"""The table of public routes; those of the admin API and the page are in `admin` and `page`."""

from __future__ import annotations

from typing import Final

from compute_common.http.api import KIB, RequestBody, Route
from compute_common.http.bodies import ErrorBody
from control_plane.decisions.model import Report
from control_plane.http import hooks, probes, reports
from control_plane.http.api import ApiRoute, Listener
from control_plane.http.metrics import counted
from control_plane.http.spec import spec

PUBLIC: Final = frozenset({Listener.PUBLIC.value})
PROBED: Final = frozenset(
    {Listener.PUBLIC.value, Listener.SOCKET.value, Listener.ADMIN.value, Listener.PAGE.value}
)
JSON_OBJECT: Final = "application/json"
HOOK_LIMIT: Final = 256 * KIB
"""256 shards or safekeepers fit many times."""
REPORT_LIMIT: Final = 1024 * KIB
REFUSED: Final = dict.fromkeys((400, 401, 403, 404), ErrorBody)

PUBLIC_ROUTES: Final[tuple[ApiRoute, ...]] = (
    Route(
        method="GET",
        path="/compute/api/v2/computes/{id}/spec",
        listeners=PUBLIC,
        run=spec,
        text="The document of a compute. With `If-None-Match` and `Prefer: wait=N` it is held "
        "until the document changes, for N seconds and at most 60.",
        answers={200: JSON_OBJECT, 304: JSON_OBJECT, **REFUSED, 503: ErrorBody},
        quiet=True,
    ),
    Route(
        method="POST",
        path="/compute/api/v2/computes/{id}/report",
        listeners=PUBLIC,
        run=reports.report,
        text="What a compute says of itself.",
        answers={200: JSON_OBJECT, **REFUSED, 422: ErrorBody, 429: ErrorBody},
        body=RequestBody(limit=REPORT_LIMIT, required=True, model=Report),
        quiet=True,
    ),
    Route(
        method="PUT",
        path="/notify-attach",
        listeners=PUBLIC,
        run=counted("notify-attach", hooks.notify_attach),
        text="A tenant has moved. 200: every compute of it that is alive runs with it; "
        "423: stored, but some do not yet; 503: not stored.",
        answers={
            200: hooks.HookBody,
            423: hooks.HookBody,
            **REFUSED,
            409: ErrorBody,
            503: ErrorBody,
        },
        body=RequestBody(limit=HOOK_LIMIT, required=True),
    ),
    Route(
        method="PUT",
        path="/notify-safekeepers",
        listeners=PUBLIC,
        run=counted("notify-safekeepers", hooks.notify_safekeepers),
        text="A timeline has other safekeepers; older ones change nothing. Answers as above.",
        answers={
            200: hooks.HookBody,
            423: hooks.HookBody,
            **REFUSED,
            409: ErrorBody,
            503: ErrorBody,
        },
        body=RequestBody(limit=HOOK_LIMIT, required=True),
    ),
    Route(
        method="GET",
        path="/livez",
        listeners=PROBED,
        run=probes.livez,
        text="Whether the process is alive.",
        answers={200: probes.HealthBody},
        quiet=True,
        open=True,
    ),
    Route(
        method="GET",
        path="/readyz",
        listeners=PROBED,
        run=probes.readyz,
        text="Whether the store answers.",
        answers={200: probes.HealthBody, 503: ErrorBody},
        quiet=True,
        open=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        listeners=PROBED,
        run=probes.metrics,
        text="Metrics for Prometheus.",
        answers={200: "text/plain"},
        quiet=True,
        open=True,
    ),
)
