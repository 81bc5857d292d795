"""The status and the only way to change it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from compute_ctl.decisions.transitions import RESTING, TERMINATING, Event, Status, next_status
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
        self.terminating_event = asyncio.Event()
        """Set with the terminating statuses."""
        self.immediate_stop = asyncio.Event()
        """Set with the status `termination_pending_immediate`."""
        self.stopped = asyncio.Event()
        """Set with the status `terminated`."""

    def move(self, event: Event, why: str) -> bool:
        """Change the status by *event*; *why* goes to the log. Return whether it is another now.

        Raises:
            IllegalTransitionError: nothing was changed.
        """
        old, new = self.status, next_status(self.status, event)
        if new is old:
            return False
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
        return True
