"""What happened and when, so that a test can wait for it and a bench can print phases."""

import asyncio
import logging
import time
from typing import Any

LIMIT = 100_000

log = logging.getLogger(__name__)


def log_death(task: asyncio.Task[None]) -> None:
    """Say so where a task ends by an exception; a done callback."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task %s died", task.get_name(), exc_info=error)


class Events:
    """A list that only grows, until its oldest half is dropped at LIMIT."""

    def __init__(self) -> None:
        self._dropped = 0
        self._events: list[dict[str, Any]] = []

    def record(self, kind: str, **details: Any) -> None:
        """Note something. `at` is CLOCK_MONOTONIC, which all processes of a machine share."""
        self._events.append({"at": time.monotonic(), "kind": kind, **details})
        if len(self._events) > LIMIT:
            half = LIMIT // 2
            del self._events[:half]
            self._dropped += half

    def since(self, number: int) -> dict[str, Any]:
        """The events from `number` on, and the number to ask with next time."""
        return {
            "events": self._events[max(0, number - self._dropped) :],
            "next": self._dropped + len(self._events),
        }
