"""What all routes of the control plane share: the listeners, and what handlers work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from compute_common.http.api import Call, RequestMetrics, Route
from control_plane.decisions.report_limits import ReportRate
from control_plane.decisions.views import ServiceView
from control_plane.fleet.judge import Judge
from control_plane.fleet.reconciler import Reconciler
from control_plane.fleet.registry import Registry
from control_plane.http.holds import Holds
from control_plane.http.overviews import Overviews
from control_plane.ports import Clock
from control_plane.settings import Settings


class Listener(StrEnum):
    """Where requests come in."""

    PUBLIC = "public"
    """`--listen`: computes and the storage controller."""
    SOCKET = "socket"
    """`--admin-socket`: root, and the user the control plane runs as."""
    ADMIN = "admin"
    """`--admin-listen`: callers with the admin token."""
    PAGE = "page"
    """`--page-listen`: the page alone."""


LABELS = {
    Listener.PUBLIC.value: "the public port",
    Listener.SOCKET.value: "the admin socket",
    Listener.ADMIN.value: "the admin port",
    Listener.PAGE.value: "the page's port",
}
"""How messages call the listeners."""


class Exposition(RequestMetrics, Protocol):
    """Counts requests and hooks, and renders all metrics."""

    def on_hook(self, kind: str, code: int) -> None:
        """Count the answer to a hook."""

    def exposition(self, api: Api) -> bytes:
        """Return all metrics in the text format 0.0.4."""


@dataclass(kw_only=True, slots=True)
class Api:
    """The objects that the route functions use."""

    settings: Settings
    clock: Clock
    registry: Registry
    reconciler: Reconciler
    judge: Judge | None
    """None: no storage controller is configured."""
    metrics: Exposition
    service: ServiceView
    """How it was started."""
    overviews: Overviews
    polls: Holds
    """Long polls."""
    hooks: Holds
    """Hooks of the storage controller."""
    report_rate: ReportRate
    overloaded: Callable[[], bool]
    """Whether requests wait for longer than a second."""


ApiCall = Call[Api]
ApiRoute = Route[Api]
