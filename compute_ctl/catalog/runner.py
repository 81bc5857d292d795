"""Catalog jobs: run one at a time, repeated after a failure, and each run recorded.

Completed work is remembered in state.json by the hash of the desired catalog, so a refresh that
moves pageservers costs no SQL; delta operations are remembered by their operation, so they never
run twice. `reconciler` decides when a job runs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from compute_common.document.document import Document
from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.catalog.desired import DesiredCatalog, has_size_limit
from compute_ctl.catalog.executor import PlanExecutor
from compute_ctl.catalog.migrations import migrate
from compute_ctl.catalog.overrides import SizeLimitOverride
from compute_ctl.catalog.sessions import open_session
from compute_ctl.decisions.model import CatalogKind, CatalogRun
from compute_ctl.errors import CatalogError, MigrationError, ProbeError, StoreError
from compute_ctl.node import Node
from compute_ctl.ports import CatalogOutcome, CatalogResult, Clock

logger = logging.getLogger(__name__)

THREAD_MARGIN_S: Final = 5.0
RETRY_MIN_S: Final = 5.0

T = TypeVar("T")


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


@dataclass(kw_only=True)
class CatalogRunner:
    """Runs work on the catalog of one server."""

    node: Node
    clock: Clock
    connstr: str = field(repr=False)
    save: Callable[[], Awaitable[None]]
    """Writes the node's state to disk."""
    size_limit: SizeLimitOverride
    privileged: str
    may_replicate: bool
    deadline_s: float
    """Time limit of each run."""
    _stopped: threading.Event = field(default_factory=threading.Event)
    _worker: BlockingWorker = field(default_factory=lambda: BlockingWorker("catalog"))

    def stop(self) -> None:
        """Stop the running job after its current statement."""
        self._stopped.set()

    async def run_job(self, job: CatalogJob) -> CatalogResult:
        """Run *job* once and record the result. Never raises."""
        watch = Stopwatch(self.clock)
        self._stopped = threading.Event()
        executor = PlanExecutor(
            connstr=self.connstr,
            deadline=time.monotonic() + self.deadline_s,
            privileged=self.privileged,
            may_replicate=self.may_replicate,
            concurrency=job.document.spec.reconfigure_concurrency,
            size_limit=self.size_limit if has_size_limit(job.document.spec) else None,
            stopped=self._stopped,
        )
        outcome, reason = CatalogOutcome.FAILED, ""
        try:
            outcome = await self._execute(executor, job)
        except CatalogError as error:
            reason = str(error)
        run = watch.record(
            CatalogKind.CATALOG,
            outcome,
            reason=reason,
            statements=executor.done,
            timeouts=executor.timeouts,
        )
        self.node.catalog_ran(run)
        result = CatalogResult(
            outcome=outcome, reason=reason, steps=executor.done, duration_ms=run.duration_ms
        )
        if reason:
            logger.error("catalog work failed: %s", reason)
        else:
            logger.info("catalog work: %s, %d statements", outcome, executor.done)
        return result

    async def _execute(self, executor: PlanExecutor, job: CatalogJob) -> CatalogOutcome:
        desired = job.desired.without(self.node.config.state.done_operations)
        limit = self.deadline_s + THREAD_MARGIN_S
        possible = await self._in_thread(
            lambda: executor.run(desired), name="catalog", within_s=limit
        )
        if not possible:
            return CatalogOutcome.SKIPPED
        await self._remember(job)
        return CatalogOutcome.DONE

    async def _remember(self, job: CatalogJob) -> None:
        desired = job.desired
        self.node.config.catalog_done(
            sha256=job.sha256,
            operation=desired.operation,
            subscriptions_dropped_for=desired.drop_subscriptions_for,
        )
        try:
            await self.save()
        except StoreError as error:
            logger.warning("%s", error)

    async def migrate(self) -> None:
        """Run the migrations that the cluster lacks, and record the run if there were any.

        Raises:
            CatalogError: one failed; this is recorded and logged.
        """
        watch, deadline = Stopwatch(self.clock), time.monotonic() + self.deadline_s
        try:
            count = await self._in_thread(
                lambda: migrate(self.connstr, deadline=deadline, privileged=self.privileged),
                name="migrations",
                within_s=self.deadline_s + THREAD_MARGIN_S,
            )
        except CatalogError as error:
            number = error.number if isinstance(error, MigrationError) else None
            kind, outcome = CatalogKind.MIGRATIONS, CatalogOutcome.FAILED
            run = watch.record(kind, outcome, reason=str(error), failed_migration=number)
            self.node.catalog_ran(run)
            logger.error("%s", error)
            raise
        if count:
            run = watch.record(CatalogKind.MIGRATIONS, CatalogOutcome.DONE, statements=count)
            self.node.catalog_ran(run)

    async def verify_size_limit(self) -> None:
        """Restore the size limit of the server. Never raises."""

        def verify() -> None:
            self.size_limit.remove()
            deadline = time.monotonic() + 2 * THREAD_MARGIN_S
            with closing(open_session(self.connstr, deadline)) as session:
                self.size_limit.verify(session)

        try:
            await self._in_thread(verify, name="catalog-limit", within_s=3 * THREAD_MARGIN_S)
        except CatalogError as error:
            logger.error("could not verify that the size limit is restored: %s", error)

    async def _in_thread(self, work: Callable[[], T], *, name: str, within_s: float) -> T:
        """Return the result of blocking *work*.

        Raises:
            CatalogError: it failed, exceeded *within_s*, or earlier work is still running.
        """
        try:
            return await self._worker.run(work, within_s=within_s)
        except CatalogError:
            raise
        except TimeoutError as error:
            reason = str(error) or f"it has not ended within {within_s:g} s"
            raise CatalogError(reason) from None
        except ProbeError as error:
            raise CatalogError(str(error)) from None
        except Exception as error:  # a bug here must not prevent a refresh
            logger.exception("unhandled exception in %s", name)
            raise CatalogError(f"unexpected {type(error).__name__}") from error
