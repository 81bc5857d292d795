"""Makes every object of the control plane."""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from compute_common.http.router import Router
from compute_common.redact import redact
from control_plane.app.adapters import Adapters
from control_plane.app.clock import LoopDelay, SystemClock
from control_plane.decisions.report_limits import ReportRate
from control_plane.decisions.views import ServiceView
from control_plane.fleet.judge import Judge
from control_plane.fleet.pushes import Pushes
from control_plane.fleet.reconciler import Reconciler
from control_plane.fleet.registry import Registry
from control_plane.http.admin_routes import ROUTES
from control_plane.http.api import LABELS, Api
from control_plane.http.holds import Holds
from control_plane.http.metrics import Metrics
from control_plane.http.overviews import Overviews
from control_plane.ports import Store
from control_plane.settings import EvidenceMode, Settings
from control_plane.store.measured import MeasuredStore

PROGRAM: Final = "compute_control_plane"
DISTRIBUTION: Final = "compute-refresh"
MAX_HOOKS: Final = 1000
"""Held at the same time; the storage controller sends 32."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What runs."""

    registry: Registry
    reconciler: Reconciler
    judge: Judge | None
    pushes: Pushes | None
    delay: LoopDelay
    api: Api
    router: Router[Api]

    def loops(self) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        """Yield what runs for as long as the process, by name."""
        yield "store watch", self.registry.run()
        yield "reconciler", self.reconciler.run()
        yield "loop delay", self.delay.run()
        if self.judge is not None:
            yield "judge", self.judge.run()
        if self.pushes is not None:
            yield "pushes", self.pushes.run()


def build(settings: Settings, store: Store, adapters: Adapters, *, held: int) -> Parts:
    """Make everything; nothing runs yet. *held*: long polls at the same time, at most."""
    clock, delay, jitter = SystemClock(), LoopDelay(), random.SystemRandom().random
    metrics = Metrics(started_at=clock.wall())
    store = MeasuredStore(store, on_commit=metrics.on_commit)
    registry = Registry(store=store, clock=clock, managed=settings.managed, keys=adapters.keys)
    reconciler = Reconciler(
        registry=registry, controller=adapters.controller, clock=clock, jitter=jitter
    )
    judge = _judge(settings, store, adapters, registry, reconciler)
    pushes = None
    if adapters.pusher is not None:
        pushes = Pushes(registry=registry, pusher=adapters.pusher, jitter=jitter)
    registry.presence.on_report.append(metrics.on_report)
    registry.on_published.append(lambda one: metrics.on_change(registry.computes.get(one), one))
    api = Api(
        settings=settings,
        clock=clock,
        registry=registry,
        reconciler=reconciler,
        judge=judge,
        metrics=metrics,
        service=service_view(settings),
        overviews=Overviews(registry=registry, clock=clock),
        polls=Holds(limit=held),
        hooks=Holds(limit=MAX_HOOKS),
        report_rate=ReportRate(),
        overloaded=lambda: delay.overloaded,
    )
    return Parts(
        registry=registry,
        reconciler=reconciler,
        judge=judge,
        pushes=pushes,
        delay=delay,
        api=api,
        router=Router(ROUTES, labels=LABELS),
    )


def _judge(
    settings: Settings,
    store: Store,
    adapters: Adapters,
    registry: Registry,
    reconciler: Reconciler,
) -> Judge | None:
    if adapters.controller is None or adapters.prober is None:
        return None
    return Judge(
        registry=registry,
        reconciler=reconciler,
        controller=adapters.controller,
        prober=adapters.prober,
        store=store,
        clock=SystemClock(),
        holder=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
        act=settings.evidence is EvidenceMode.ACT,
        quorum=settings.evidence_quorum,
    )


def service_view(settings: Settings) -> ServiceView:
    """Return how the control plane is started, for people; no secret is in it."""
    controller = settings.storage_controller
    return ServiceView(
        version=version(DISTRIBUTION),
        store=redact(settings.store),
        storage_controller=redact(controller) if controller else None,
        evidence=settings.evidence.value,
        quorum=settings.evidence_quorum,
    )
