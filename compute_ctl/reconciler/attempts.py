"""The record of attempts: each has a number, a beginning and an end that is logged and shown."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from compute_ctl.decisions import pacing
from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import GOOD_OUTCOMES, Attempt, Outcome, RequestOrigin
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.node import Node
from compute_ctl.ports import CatalogRequests, Clock
from compute_ctl.reconciler.schedule import Schedule

logger = logging.getLogger(__name__)

UNSETTLED: Final = frozenset({Outcome.FETCH_FAILED, Outcome.EMPTY})
"""Outcomes after which it is worth asking again soon."""
RETRY: Final = "operator_retry"
"""An attempt for somebody whose request has failed, where Postgres itself suspects nothing."""

SUSPECTS: Final = (
    "compute node suspects its configuration is out of date, now refreshing configuration"
)
"""As the reference says it."""
CHECKS_TOO: Final = frozenset({pacing.Why.TICK, pacing.Why.OPERATOR, pacing.Why.FORCED})
"""Fetches after which what is in force is checked as well."""
NOT_TAKEN: Final = {Outcome.FETCH_FAILED, Outcome.STALE, Outcome.EMPTY, Outcome.REJECTED}
"""Outcomes of a fetch that changes nothing."""
REFUSED: Final = {Outcome.STALE, Outcome.REJECTED}
"""Outcomes that stay until the source has something else."""
LOOK: Final = "look"
"""A repair of what a drift check has found."""


@dataclass(kw_only=True, eq=False)
class Attempts:
    """Records the attempts of one node."""

    node: Node
    clock: Clock
    schedule: Schedule
    catalog: CatalogRequests | None

    def caller(self, who: str) -> str:
        """Return the label shown for an attempt that *who* has caused."""
        requests = self.node.requests
        if who == pacing.Why.OPERATOR and not requests.by_operator:
            return RequestOrigin.CLOCK  # its own start, or a server that has come back
        if who == pacing.Why.SUSPICION and not requests.worker_complains:
            return RETRY
        return who

    def begin(self) -> tuple[float, datetime]:
        """Begin an attempt; return when, by both clocks."""
        self.node.attempts.begin()
        return self.clock.monotonic(), self.clock.wall()

    def end(
        self, begun: tuple[float, datetime], result: ApplyResult, *, who: str, served: int
    ) -> None:
        """End the attempt *begun*, which *who* caused and which served requests up to *served*."""
        node, now = self.node, self.clock.monotonic()
        self.schedule.attempted(now)
        attempt = Attempt(
            number=node.attempts.number,
            who=who,
            started_at=begun[1],
            finished_at=self.clock.wall(),
            duration_ms=(now - begun[0]) * 1000,
            outcome=result.outcome,
            reason=result.reason,
            generation=node.config.written.marker.generation if node.config.written else None,
        )
        if self.catalog is not None:
            self.catalog.wake()
        good = result.outcome in GOOD_OUTCOMES or result.excused
        level = logging.INFO if good else logging.ERROR if result.lasting else logging.WARNING
        if attempt.repeats(node.attempts.last):
            level = logging.DEBUG
        node.attempt_ended(attempt, served=served, good=good)
        logger.log(
            level,
            "%s: %s%s",
            who,
            result.outcome,
            f": {result.reason}" if result.reason else "",
        )

    def leave(self, result: ApplyResult) -> bool:
        """Move to the status after *result*; False where something else has moved it already."""
        node = self.node
        if node.terminating or node.pushes.current is not None or node.status is Status.EMPTY:
            return False
        # An operator has an answer now; Postgres has one when its pages come.
        settled = result.outcome not in UNSETTLED and not node.requests.worker_complains
        if result.outcome is Outcome.APPLIED or settled:
            node.requests.clear_suspicion()
        if result.broken:
            node.move(Event.ATTEMPT_FAILED, result.reason)
        elif self.schedule.wanted(self.clock.monotonic()):
            node.move(Event.RETRY, result.outcome)
        else:
            node.settle(result.outcome)
        return True
