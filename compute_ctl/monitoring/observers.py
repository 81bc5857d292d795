"""Observers of the node: the history file and systemd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import structs

from compute_common.redact import redact
from compute_common.system.sd_notify import READY, Notifier
from compute_ctl.decisions.model import Attempt, CatalogRun
from compute_ctl.decisions.transitions import Status
from compute_ctl.node.observer import Observer

_CHANGING: Final = frozenset({Status.CONFIGURATION, Status.REFRESH_CONFIGURATION})


class History(Observer):
    """Appends attempts and work on the catalog to the history; repetitions are left out."""

    def __init__(self, add: Callable[[dict[str, Any]], None]) -> None:
        self._add = add
        self._last: Attempt | None = None
        self._last_run: CatalogRun | None = None

    def on_attempt(self, attempt: Attempt) -> None:
        """Append *attempt*."""
        if not attempt.repeats(self._last):
            self._add(msgspec.to_builtins(structs.asdict(attempt)))
        self._last = attempt

    def on_catalog(self, run: CatalogRun) -> None:
        """Append *run*."""
        if not run.repeats(self._last_run):
            self._add(msgspec.to_builtins(structs.asdict(run)))
        self._last_run = run


class SystemdStatus(Observer):
    """Tells systemd the status, for `systemctl status`, and when a reload begins and ends."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Tell systemd of a change; READY follows each RELOADING, as each attempt ends."""
        if new in _CHANGING:
            self._notifier.reloading()
        elif old in _CHANGING:
            self._notifier.send(READY)
        self._notifier.status(redact(f"{new.kebab}: {why}") if why else new.kebab)
