"""Decides when catalog work runs: after the configuration is proven, and again after a failure.

A job waits until the configuration of its document is proven; work that `runner` remembers as done
is not repeated. The cluster's migrations run after the first job that succeeds, once in the
lifetime of the daemon, and nothing waits for them. None of this delays the configuration.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from compute_common.document.document import Document
from compute_ctl.catalog.desired import NO_TIMELINE, DesiredCatalog
from compute_ctl.catalog.overrides import SizeLimitOverride, SubscriberOverride
from compute_ctl.catalog.runner import CatalogJob, CatalogRunner, Job, known_result, new_result
from compute_ctl.document.render import SUBSCRIBERS_HOLD
from compute_ctl.errors import CatalogError
from compute_ctl.node import Node
from compute_ctl.ports import CatalogOutcome, CatalogResult, Clock, Postgres

logger = logging.getLogger(__name__)

POLL_S: Final = 1.0
"""Between two checks whether a job can begin, where nothing calls `wake`."""


@dataclass(kw_only=True, eq=False)
class CatalogReconciler:
    """Updates the catalog of one node as documents ask for it; `run` is its task."""

    node: Node
    postgres: Postgres
    clock: Clock
    runner: CatalogRunner
    size_limit: SizeLimitOverride
    subscribers: SubscriberOverride
    always: bool
    """Also for a document that lists nothing, since the privileged role and the health check are
    needed anyway."""
    retry_max_s: float
    """The longest delay before a retry."""
    _job: CatalogJob | None = None
    _migrations: Job | None = None
    _migrated: bool = False
    _up_to_date: bool = False
    _wakeup: asyncio.Event = field(default_factory=asyncio.Event)

    def before_start(self) -> None:
        """Disable subscribers, where the server about to start is to drop its subscriptions."""
        node = self.node
        dropped = node.config.state.subscriptions_dropped_for == (
            node.config.timeline or NO_TIMELINE
        )
        if (
            node.config.written is not None
            and SUBSCRIBERS_HOLD in node.config.written.body
            and not dropped
        ):
            self.subscribers.write()

    # Requests

    def request(self, document: Document, *, force: bool = False) -> asyncio.Future[CatalogResult]:
        """Update the catalog to match *document* once its configuration is proven.

        The future holds the result of the first attempt; a failed one is retried. *force* repeats
        work that was done before, except delta operations.
        """
        newest = self.node.config.desired
        if newest is None or newest.content_sha256 != document.content_sha256:
            return known_result(CatalogOutcome.SUPERSEDED)
        self._up_to_date = False
        try:
            desired = DesiredCatalog.of(document)
        except CatalogError as error:
            self._drop_job()
            self.node.server.catalog_fails(str(error))
            logger.error("catalog: %s", error)
            return known_result(CatalogOutcome.FAILED, str(error))
        if desired is None or (desired.empty and not self.always):
            self._migrations = None
            self._set_up_to_date()
            return known_result(CatalogOutcome.SKIPPED)
        sha256 = desired.sha256
        if not force:
            if self._job is not None and self._job.sha256 == sha256:
                self._job.document = document  # may differ in its configuration
                return self._job.answer
            if self.node.config.state.catalog_sha256 == sha256:
                self._request_migrations(document)
                self._set_up_to_date()
                return known_result(CatalogOutcome.UNCHANGED)
        self._drop_job()
        self._job = CatalogJob(
            document=document, desired=desired, sha256=sha256, answer=new_result()
        )
        self.wake()
        return self._job.answer

    def wake(self) -> None:
        """Check again whether work can begin."""
        self._wakeup.set()

    def _request_migrations(self, document: Document) -> None:
        if self._migrated:
            return
        if self._migrations is None:
            self._migrations = Job(document=document)
        self._migrations.document = document  # may differ in its configuration
        self.wake()

    def _set_up_to_date(self) -> None:
        """Drop the pending job and its error; an error of the migrations stays."""
        self._drop_job()
        self._up_to_date = True
        if self._migrations is None or not self._migrations.failures:
            self.node.server.catalog_fails(None)

    def _drop_job(self) -> None:
        if self._job is not None:
            self._job.end(CatalogResult(outcome=CatalogOutcome.SUPERSEDED))
            self._job = None
            self.runner.stop()

    # The task

    async def run(self) -> None:
        """Run jobs until cancelled."""
        if await asyncio.to_thread(self.size_limit.remove):
            logger.warning("removed the size limit override of an earlier daemon")
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._wakeup.wait()
                self._wakeup.clear()
                await self._turn()
        finally:
            self.runner.stop()

    def _pause(self) -> float | None:
        if self.size_limit.needs_verify or self.subscribers.active:
            return POLL_S
        job = self._job or self._migrations
        return max(job.retry_at - self.clock.monotonic(), POLL_S) if job else None

    async def _turn(self) -> None:
        if self.size_limit.needs_verify and self.postgres.ready:
            await self.runner.verify_size_limit()
        if self.subscribers.active and self._up_to_date and self.postgres.ready:
            await asyncio.to_thread(self.subscribers.remove)
        job, migrations = self._job, self._migrations
        if job is not None:
            if self._may_begin(job):
                await self._run_job(job)
        elif migrations is not None and self._may_begin(migrations):
            await self._migrate(migrations)

    async def _run_job(self, job: CatalogJob) -> None:
        result = await self.runner.run_job(job)
        job.end(result)
        if self._job is not job:
            return
        if result.good:
            self._job = None
            self._up_to_date = True
            self.node.server.catalog_fails(None)
            if result.outcome is CatalogOutcome.DONE:
                self._request_migrations(job.document)
            return
        self.node.server.catalog_fails(result.reason)
        job.failed(self.clock.monotonic(), at_most_s=self.retry_max_s)

    def _may_begin(self, job: Job) -> bool:
        applied = self.node.config.state.applied
        return (
            self.postgres.ready
            and not self.node.terminating
            and job.retry_at <= self.clock.monotonic()
            and self.node.config.proven
            and applied is not None
            and applied.content_sha256 == job.document.content_sha256
        )

    async def _migrate(self, job: Job) -> None:
        try:
            await self.runner.migrate()
        except CatalogError as error:
            self.node.server.catalog_fails(str(error))
            job.failed(self.clock.monotonic(), at_most_s=self.retry_max_s)
            return
        self._migrated = True
        if self._migrations is job:
            self._migrations = None
            self.node.server.catalog_fails(None)
