"""Carries out catalog work, a piece at a time, and keeps the record of each run.

Work that is done is remembered by the hash of the wish in state.json, so a refresh that moves
pageservers costs no SQL; a delta operation is remembered by its operation, so it never runs again
for another reason. When work is done is the reconciler's business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from compute_ctl.catalog.desired import has_size_limit
from compute_ctl.catalog.executor import PlanExecutor
from compute_ctl.catalog.jobs import CatalogJob, Stopwatch
from compute_ctl.catalog.migrations import migrate
from compute_ctl.catalog.overrides import SizeLimitOverride
from compute_ctl.catalog.sessions import open_session
from compute_ctl.catalog.workroom import Workroom
from compute_ctl.decisions.model import CatalogKind
from compute_ctl.errors import CatalogError, MigrationError, StoreError
from compute_ctl.node import Node
from compute_ctl.ports import CatalogOutcome, CatalogResult, Clock

logger = logging.getLogger(__name__)

KEPT_OPERATIONS: Final = 100
THREAD_MARGIN_S: Final = 5.0


@dataclass(kw_only=True)
class CatalogRunner:
    """Work on the catalog of one server, for its reconciler."""

    node: Node
    clock: Clock
    connstr: str = field(repr=False)
    save: Callable[[], Awaitable[None]]
    """Keeps the node's state on disk."""
    size_limit: SizeLimitOverride
    privileged: str
    may_replicate: bool
    deadline_s: float
    """Of each run."""
    _stopped: threading.Event = field(default_factory=threading.Event)
    _room: Workroom = field(default_factory=Workroom)

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
        run = watch.run(
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
        wanted = job.wanted.without(self.node.state.done_operations)
        limit = self.deadline_s + THREAD_MARGIN_S
        possible = await self._room.run(
            lambda: executor.run(wanted), name="catalog", within_s=limit
        )
        if not possible:
            return CatalogOutcome.SKIPPED
        await self._remember(job)
        return CatalogOutcome.DONE

    async def _remember(self, job: CatalogJob) -> None:
        state = self.node.state
        done = state.done_operations
        if job.wanted.operation and job.wanted.operation not in done:
            done = (*done, job.wanted.operation)[-KEPT_OPERATIONS:]
        self.node.state = msgspec.structs.replace(
            state,
            catalog_sha256=job.sha256,
            done_operations=done,
            subscriptions_dropped_for=job.wanted.drop_subscriptions_for
            or state.subscriptions_dropped_for,
        )
        try:
            await self.save()
        except StoreError as error:
            logger.warning("%s", error)

    async def migrate(self) -> None:
        """Bring the cluster to the last migration, unless it is there; record it if it was not.

        Raises:
            CatalogError: it failed, which is recorded and logged.
        """
        watch, deadline = Stopwatch(self.clock), time.monotonic() + self.deadline_s
        try:
            count = await self._room.run(
                lambda: migrate(self.connstr, deadline=deadline, privileged=self.privileged),
                name="migrations",
                within_s=self.deadline_s + THREAD_MARGIN_S,
            )
        except CatalogError as error:
            number = error.number if isinstance(error, MigrationError) else None
            kind, outcome = CatalogKind.MIGRATIONS, CatalogOutcome.FAILED
            run = watch.run(kind, outcome, reason=str(error), failed_migration=number)
            self.node.catalog_ran(run)
            logger.error("%s", error)
            raise
        if count:
            run = watch.run(CatalogKind.MIGRATIONS, CatalogOutcome.DONE, statements=count)
            self.node.catalog_ran(run)

    async def verify_size_limit(self) -> None:
        """See to it that the server has its size limit back. Never raises."""

        def verify() -> None:
            self.size_limit.remove()
            session = open_session(self.connstr, time.monotonic() + 2 * THREAD_MARGIN_S)
            try:
                self.size_limit.verify(session)
            finally:
                session.close()

        try:
            await self._room.run(verify, name="catalog-limit", within_s=3 * THREAD_MARGIN_S)
        except CatalogError as error:
            logger.error("could not see the size limit put back: %s", error)
