"""Brings what a document says of the programs beside Postgres into force, after Postgres itself.

In a thread of its own, each with a deadline: a program that hangs or is broken costs nobody else
anything. What fails is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Protocol

from compute_common.errors import ComputeError
from compute_common.redact import redact
from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.decisions.model import Attempt
from compute_ctl.decisions.sidecar import SidecarOutcome, SidecarState
from compute_ctl.node.observer import Observer
from compute_ctl.sidecars.wanted import Wanted

logger = logging.getLogger(__name__)

APPLY_S: Final = 20.0
LOOK_S: Final = 60.0
"""Between two looks at certificates, programs that were absent, and what has failed."""


class Sidecar(Protocol):
    """One program."""

    @property
    def name(self) -> str:
        """Its name."""

    def names(self, wanted: Wanted) -> bool:
        """Whether the document says anything of it."""

    def apply(self, wanted: Wanted) -> bool:
        """Bring it into force, if it is not already; False where there is no such program.

        Raises:
            OSError, ComputeError: it cannot be done.
        """


class Sidecars(Observer):
    """All of them; `run` is the task."""

    def __init__(
        self,
        programs: Sequence[Sidecar],
        *,
        wanted: Callable[[], Wanted | None],
        on_state: Callable[[SidecarState], None],
        wall: Callable[[], datetime],
        look_s: float = LOOK_S,
    ) -> None:
        """*wanted* returns what the document says that Postgres runs with; None: not proven yet."""
        self._programs = programs
        self._wanted = wanted
        self._on_state = on_state
        self._wall = wall
        self._look_s = look_s
        self._changed = asyncio.Event()
        self._states: dict[str, SidecarState] = {}
        self._workers = {one.name: BlockingWorker(one.name) for one in programs}
        """Of each its own: a call that hangs keeps its thread."""

    def on_attempt(self, attempt: Attempt) -> None:
        """Look at the document: it may be another."""
        self._changed.set()

    async def run(self) -> None:
        """Keep them as the document says until cancelled."""
        while True:
            self._changed.clear()
            wanted = self._wanted()
            if wanted is not None:
                named = [one for one in self._programs if one.names(wanted)]
                await asyncio.gather(*(self._apply(one, wanted) for one in named))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._changed.wait()

    async def _apply(self, program: Sidecar, wanted: Wanted) -> None:
        try:
            worker = self._workers[program.name]
            there = await worker.run(lambda: program.apply(wanted), within_s=APPLY_S)
        except (ComputeError, OSError, RuntimeError, ValueError) as error:  # TimeoutError is one
            self._show(
                program.name, SidecarOutcome.FAILED, redact(str(error)) or "no answer in time"
            )
        else:
            self._show(program.name, SidecarOutcome.APPLIED if there else SidecarOutcome.ABSENT)

    def _show(self, name: str, outcome: SidecarOutcome, error: str | None = None) -> None:
        """Show what has changed, and log it once."""
        before = self._states.get(name)
        if before is not None and (before.outcome, before.error) == (outcome, error):
            return
        state = SidecarState(name=name, outcome=outcome, error=error, at=self._wall())
        self._states[name] = state
        self._on_state(state)
        if error is not None:
            logger.error("%s could not be configured: %s", name, error)
        else:
            logger.info("configuration of %s: %s", name, outcome)
