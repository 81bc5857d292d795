"""Makes the looks at what runs that nobody else makes, beside the loop: a heal never waits for one.

What a look has found is dealt with in the loop, like everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

from compute_ctl.decisions.proof import Verdict
from compute_ctl.document.generation import Marker
from compute_ctl.node import Node
from compute_ctl.ports import Clock

Look = Callable[[], Awaitable[Verdict | None]]


class Looker:
    """Makes one look at a time."""

    def __init__(self, *, node: Node, clock: Clock, look: Look) -> None:
        self._node = node
        self._clock = clock
        self._look = look
        self._task: asyncio.Task[Verdict | None] | None = None
        self._marker: Marker | None = None
        """Of the generation that was in the file when the look began."""

    def begin(self) -> None:
        """Begin the look that is wanted, if it may begin by now."""
        now = self._clock.monotonic()
        if self._task is not None or self._node.drift_checks.due_at > now:
            return
        self._node.drift_checks.begin(now)
        self._marker = self._written
        self._task = asyncio.create_task(self._make(), name="look")
        self._task.add_done_callback(lambda _: self._node.wake.set())

    async def _make(self) -> Verdict | None:
        return await self._look()

    @property
    def _written(self) -> Marker | None:
        return self._node.written.marker if self._node.written is not None else None

    @property
    def next_at(self) -> float:
        """When the next one may begin, in monotonic seconds; infinity: not before this one ends."""
        return inf if self._task is not None else self._node.drift_checks.due_at

    def take(self) -> tuple[bool, Verdict | None]:
        """Return whether a look has ended that was not taken yet, and what it has found.

        That is None where another generation was written since it began: it says nothing of that.
        """
        if self._task is None or not self._task.done():
            return False, None
        task, self._task = self._task, None
        verdict = None if task.cancelled() else task.result()
        return True, verdict if self._marker == self._written else None

    def drop(self) -> None:
        """Give up the look that is under way."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
