"""Catalog jobs: what is to be done, the delay after a failure, and the record of a run."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any, Final

from compute_ctl.catalog.desired import DesiredCatalog
from compute_ctl.decisions.model import CatalogKind, CatalogRun
from compute_ctl.document.spec import Document
from compute_ctl.ports import CatalogOutcome, CatalogResult, Clock

RETRY_MIN_S: Final = 5.0


@dataclass(kw_only=True, slots=True)
class Job:
    """Something to do once the configuration of *document* is proven."""

    document: Document
    failures: int = 0
    retry_at: float = 0.0
    """Monotonic seconds."""

    def failed(self, now: float, *, at_most_s: float) -> None:
        """Wait longer with every failure, and not in step with others."""
        self.failures += 1
        pause = min(RETRY_MIN_S * 2 ** min(self.failures - 1, 16), at_most_s)
        self.retry_at = now + pause * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)


@dataclass(kw_only=True, slots=True)
class CatalogJob(Job):
    """The catalog made as a document wants it."""

    wanted: DesiredCatalog
    sha256: str
    answer: asyncio.Future[CatalogResult]

    def end(self, result: CatalogResult) -> None:
        """Tell those who wait, once."""
        if not self.answer.done():
            self.answer.set_result(result)


class Stopwatch:
    """Runs from its making to the end of a run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.wall()
        self._begun = clock.monotonic()

    def run(self, kind: CatalogKind, outcome: CatalogOutcome, **found: Any) -> CatalogRun:
        """Return the record of a run that ends now; *found* are its further fields."""
        return CatalogRun(
            kind=kind,
            started_at=self._at,
            finished_at=self._clock.wall(),
            duration_ms=(self._clock.monotonic() - self._begun) * 1000,
            outcome=outcome.value,
            **found,
        )


def unanswered() -> asyncio.Future[CatalogResult]:
    """Return an answer that is yet to come."""
    return asyncio.get_running_loop().create_future()


def resolved(outcome: CatalogOutcome, reason: str = "") -> asyncio.Future[CatalogResult]:
    """Return an answer that is known at once."""
    answer = unanswered()
    answer.set_result(CatalogResult(outcome=outcome, reason=reason))
    return answer
