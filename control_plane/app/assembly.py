"""Makes every object of the control plane."""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Final

from compute_common.http.router import Router
from control_plane.app.adapters import Adapters
from control_plane.app.clock import LoopDelay, SystemClock
from control_plane.fleet.judge import Judge
from control_plane.fleet.pushes import Pushes
from control_plane.fleet.reconciler import Reconciler
from control_plane.fleet.registry import Registry
from control_plane.http.api import LABELS, Api, Exposition
from control_plane.http.holds import Holds
from control_plane.http.routes import PUBLIC_ROUTES
from control_plane.ports import Store
from control_plane.settings import EvidenceMode, Settings

PROGRAM: Final = "compute_control_plane"
MAX_HOOKS: Final = 1000
"""Held at the same time; the storage controller sends 32."""


class Uncounted:
    """Counts nothing."""

    def on_http(self, listener: str, code: int) -> None:
        """Ignore it."""

    def on_dropped(self, listener: str, reason: str) -> None:
        """Ignore it."""

    def exposition(self, api: Api) -> bytes:
        """Return no metrics."""
        return b""


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


def build(settings: Settings, store: Store, adapters: Adapters) -> Parts:
    """Make everything; nothing runs yet."""
    clock, delay, jitter = SystemClock(), LoopDelay(), random.SystemRandom().random
    registry = Registry(store=store, clock=clock, managed=settings.managed, keys=adapters.keys)
    reconciler = Reconciler(
        registry=registry, controller=adapters.controller, clock=clock, jitter=jitter
    )
    judge = _judge(settings, store, adapters, registry, reconciler)
    pushes = None
    if adapters.pusher is not None:
        pushes = Pushes(registry=registry, pusher=adapters.pusher, jitter=jitter)
    metrics: Exposition = Uncounted()
    api = Api(
        settings=settings,
        clock=clock,
        registry=registry,
        reconciler=reconciler,
        judge=judge,
        metrics=metrics,
        polls=Holds(limit=settings.max_held, overloaded=lambda: delay.overloaded),
        hooks=Holds(limit=MAX_HOOKS),
    )
    return Parts(
        registry=registry,
        reconciler=reconciler,
        judge=judge,
        pushes=pushes,
        delay=delay,
        api=api,
        router=Router(PUBLIC_ROUTES, labels=LABELS),
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
