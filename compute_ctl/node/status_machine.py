"""The status and the only way to change it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from compute_common.errors import RequestError
from compute_ctl.decisions.transitions import RESTING, TERMINATING, Event, Status, next_status
from compute_ctl.errors import IllegalTransitionError
from compute_ctl.node.observer import Observer
from compute_ctl.ports import Clock

logger = logging.getLogger(__name__)

REPEATING: Final = {Status.REFRESH_CONFIGURATION_PENDING, Status.REFRESH_CONFIGURATION}
"""Moves between these repeat during an outage, so they are logged at DEBUG."""


class StatusMachine:
    """The status of the compute, changed by the table of `decisions.transitions`."""

    def __init__(self, *, clock: Clock, observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._periodic_from: Status | None = None
        """The status before a periodic fetch; the return to it is logged at DEBUG."""
        self.status = Status.EMPTY
        self.since = clock.monotonic()
        """Since when, in monotonic seconds; a periodic fetch that finds nothing does not count."""
        self.wake = asyncio.Event()
        """Set with each change, and whenever the reconciler may have something else to do."""
        self.terminating_event = asyncio.Event()
        """Set with the terminating statuses."""
        self.immediate_stop = asyncio.Event()
        """Set with the status `termination_pending_immediate`."""
        self.stopped = asyncio.Event()
        """Set with the status `terminated`."""

    def move(self, event: Event, why: str = "") -> None:
        """Change the status by *event*; *why* goes to the log.

        An event that the table does not allow is logged, counted and dropped: a bug in the order of
        two events must not end the daemon, which could no longer repair Postgres then.
        """
        old = self.status
        try:
            new = next_status(old, event)
        except IllegalTransitionError as error:
            logger.error("dropped an event: %s", error)
            self._observer.on_illegal_event(old, event)
            return
        if new is not old:
            self._change(old, new, event, why)

    def _change(self, old: Status, new: Status, event: Event, why: str) -> None:
        self.status = new
        own = event is Event.REFRESH and not why  # a periodic fetch
        quiet = own or new is self._periodic_from or {old, new} == REPEATING
        if own or new in RESTING:
            self._periodic_from = old if own else None
        if not quiet:
            self.since = self._clock.monotonic()
        level = logging.DEBUG if quiet else logging.INFO
        logger.log(level, "status changed from %s to %s%s", old, new, f": {why}" if why else "")
        self._observer.on_move(old, new, why)
        if new in TERMINATING:
            self.terminating_event.set()
        if new is Status.TERMINATION_PENDING_IMMEDIATE:
            self.immediate_stop.set()
        if new is Status.TERMINATED:
            self.stopped.set()
        self.wake.set()

    @property
    def terminating(self) -> bool:
        """Whether no further work is taken."""
        return self.status in TERMINATING

    def refuse_terminating(self) -> None:
        """Raise RequestError 412 if no further work is taken."""
        if self.terminating:
            raise RequestError(412, f"invalid compute status: {self.status.kebab}")
