"""What comes at the very moment at which the daemon stops waiting for something.

The end of a fetch, of a look over SQL, of a call of the file thread: between such an end and the
code that waited for it, other tasks run, and may push a document, terminate the compute or ask for
a refresh. A story plans such an interruption for one of the next ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.simulation.world import World

Action = Callable[["World"], None]
MAX_STEPS: Final = 5
"""A task that waits for a task that waits: so many turns of the loop after the end."""


class What(StrEnum):
    """What the daemon waits for."""

    FETCH = "fetch"
    LONG_POLL = "long poll"
    LOOK = "look"
    FILES = "files"


MAX_ENDS: Final = {What.FETCH: 4, What.LONG_POLL: 1, What.LOOK: 4, What.FILES: 12}


@dataclass(frozen=True, kw_only=True, slots=True)
class Interruption:
    """One that is planned."""

    action: Action
    what: What
    ends: int
    """How many ends of an await of this kind are let pass before."""
    steps: int
    """How many turns of the loop it comes after the end."""
    first: bool
    """Whether it runs before what is ready in its turn."""


class Interruptions:
    """At most one is planned."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._planned: Interruption | None = None
        self._ends = 0
        """How many are still let pass."""
        self._at_step: int | None = None
        self.passed = Counter[What]()
        """How many ends of an await there have been."""

    def plan(self, interruption: Interruption) -> None:
        """Wait for the moment of *interruption*."""
        self._planned, self._ends, self._at_step = interruption, interruption.ends, None

    def plan_any(self, action: Action) -> None:
        """Plan *action* for a moment that the seed decides."""
        rng = self._world.rng
        what = rng.choice(list(What))
        ends, steps = rng.randint(0, MAX_ENDS[what]), rng.randint(0, MAX_STEPS)
        first = rng.random() < 0.5
        self.plan(Interruption(action=action, what=what, ends=ends, steps=steps, first=first))

    def cancel(self) -> None:
        """Forget what is planned."""
        self._planned = self._at_step = None

    def await_ends(self, what: What) -> None:
        """Count the end of an await of the daemon, before the daemon learns of it."""
        self.passed[what] += 1
        planned = self._planned
        if planned is None or self._at_step is not None or what is not planned.what:
            return
        if self._ends > 0:
            self._ends -= 1
        elif planned.steps == 0 and planned.first:
            self._act(planned)
        else:
            self._at_step = self._world.loop.steps + planned.steps

    def after_step(self) -> None:
        """Act if this is the turn."""
        late = self._at_step is not None and self._world.loop.steps >= self._at_step
        if self._planned is not None and late:
            self._act(self._planned)

    def _act(self, planned: Interruption) -> None:
        self.cancel()
        if planned.first:
            self._world.loop.run_first(lambda: planned.action(self._world))
        else:
            planned.action(self._world)
