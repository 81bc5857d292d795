"""Catalog jobs: what is to be done, the delay after a failure, and the record of a run."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any, Final

from compute_common.document.document import Document
from compute_ctl.catalog.desired import DesiredCatalog
from compute_ctl.decisions.model import CatalogKind, CatalogRun
from compute_ctl.ports import CatalogOutcome, CatalogResult, Clock

RETRY_MIN_S: Final = 5.0


@dataclass(kw_only=True, slots=True)
class Job:
    """Work to do once the configuration of *document* is proven."""

    document: Document
    failures: int = 0
    retry_at: float = 0.0
    """Monotonic seconds."""

    def failed(self, now: float, *, at_most_s: float) -> None:
        """Set the next retry: exponential backoff with jitter."""
        self.failures += 1
        pause = min(RETRY_MIN_S * 2 ** min(self.failures - 1, 16), at_most_s)
        self.retry_at = now + pause * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)


@dataclass(kw_only=True, slots=True)
class CatalogJob(Job):
    """A change of the catalog to what a document asks for."""

    desired: DesiredCatalog
    sha256: str
    answer: asyncio.Future[CatalogResult]

    def end(self, result: CatalogResult) -> None:
        """Resolve the future, once."""
        if not self.answer.done():
            self.answer.set_result(result)


class Stopwatch:
    """Measures one run, from construction to `record`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.wall()
        self._begun = clock.monotonic()

    def record(self, kind: CatalogKind, outcome: CatalogOutcome, **fields: Any) -> CatalogRun:
        """Return the record of a run that ends now; *fields* are its further fields."""
        return CatalogRun(
            kind=kind,
            started_at=self._at,
            finished_at=self._clock.wall(),
            duration_ms=(self._clock.monotonic() - self._begun) * 1000,
            outcome=outcome.value,
            **fields,
        )


def new_result() -> asyncio.Future[CatalogResult]:
    """Return a future for the result of a new job."""
    return asyncio.get_running_loop().create_future()


def known_result(outcome: CatalogOutcome, reason: str = "") -> asyncio.Future[CatalogResult]:
    """Return a future that has its result already."""
    answer = new_result()
    answer.set_result(CatalogResult(outcome=outcome, reason=reason))
    return answer
