"""Decides when catalog work is done: after the heal, once for what is wanted, again if it failed.

A wish waits until the configuration of its document is proven, and what `runs` remembers as done
is not done again. The cluster's migrations come after that, once in the life of a daemon; nobody
waits for them. Nothing here holds up the reconciler.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from compute_ctl.catalog.desired import NO_TIMELINE, DesiredCatalog
from compute_ctl.catalog.jobs import CatalogJob, Job, resolved, unanswered
from compute_ctl.catalog.overrides import SizeLimitOverride
from compute_ctl.catalog.runner import CatalogRunner
from compute_ctl.catalog.subscribers import SubscriberOverride
from compute_ctl.document.render import SUBSCRIBERS_HOLD
from compute_ctl.document.spec import Document
from compute_ctl.errors import CatalogError
from compute_ctl.node import Node
from compute_ctl.ports import CatalogOutcome, CatalogResult, Clock, Postgres

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often to look whether the configuration is proven, where nobody says so."""


@dataclass(kw_only=True)
class CatalogReconciler:
    """Keeps the catalog of one node as documents want it; `run` is its task."""

    node: Node
    postgres: Postgres
    clock: Clock
    connstr: str = field(repr=False)
    pgdata: Path
    save: Callable[[], Awaitable[None]]
    """Keeps the node's state on disk."""
    privileged: str = "neon_superuser"
    may_replicate: bool = True
    always: bool = True
    """Also where a document lists nothing: the privileged role and the health check."""
    deadline_s: float = 300.0
    retry_max_s: float = 300.0
    _job: CatalogJob | None = None
    _migrations: Job | None = None
    _migrated: bool = False
    _as_wanted: bool = False
    _poke: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._size_limit = SizeLimitOverride(self.pgdata, reload=self.postgres.reload)
        self._subscribers = SubscriberOverride(self.pgdata, reload=self.postgres.reload)
        self._runner = CatalogRunner(
            node=self.node,
            clock=self.clock,
            connstr=self.connstr,
            save=self.save,
            size_limit=self._size_limit,
            privileged=self.privileged,
            may_replicate=self.may_replicate,
            deadline_s=self.deadline_s,
        )

    def before_start(self) -> None:
        """Prepare the start of a server that is ours, with what is written."""
        node = self.node
        dropped = node.state.subscriptions_dropped_for == (node.timeline or NO_TIMELINE)
        if node.written is not None and SUBSCRIBERS_HOLD in node.written.body and not dropped:
            self._subscribers.hold()

    # What the reconciler asks for

    def request(self, document: Document, *, force: bool = False) -> asyncio.Future[CatalogResult]:
        """Have the catalog made as *document* wants it, once its configuration is proven.

        The result comes after the first attempt; one that failed is tried again. *force*: also
        where it was done before, except for delta operations.
        """
        desired = self.node.desired
        if desired is None or desired.content_sha256 != document.content_sha256:
            return resolved(CatalogOutcome.SUPERSEDED)
        self._as_wanted = False
        try:
            wanted = DesiredCatalog.of(document)
        except CatalogError as error:
            self._drop_job()
            self.node.server.catalog_error = str(error)
            logger.error("catalog: %s", error)
            return resolved(CatalogOutcome.FAILED, str(error))
        if wanted is None or (wanted.nothing and not self.always):
            self._migrations = None
            self._nothing_to_do()
            return resolved(CatalogOutcome.SKIPPED)
        sha256 = wanted.sha256
        if not force:
            if self._job is not None and self._job.sha256 == sha256:
                self._job.document = document  # its configuration may be another
                return self._job.answer
            if self.node.state.catalog_sha256 == sha256:
                self._then_migrate(document)
                self._nothing_to_do()
                return resolved(CatalogOutcome.UNCHANGED)
        self._drop_job()
        self._job = CatalogJob(document=document, wanted=wanted, sha256=sha256, answer=unanswered())
        self.wake()
        return self._job.answer

    def wake(self) -> None:
        """Look again whether work can begin."""
        self._poke.set()

    def _then_migrate(self, document: Document) -> None:
        if self._migrated:
            return
        if self._migrations is None:
            self._migrations = Job(document=document)
        self._migrations.document = document  # its configuration may be another
        self.wake()

    def _nothing_to_do(self) -> None:
        """Forget an earlier wish and why it failed; the migrations' own failure stays."""
        self._drop_job()
        self._as_wanted = True
        if self._migrations is None or not self._migrations.failures:
            self.node.server.catalog_error = None

    def _drop_job(self) -> None:
        if self._job is not None:
            self._job.end(CatalogResult(outcome=CatalogOutcome.SUPERSEDED))
            self._job = None
            self._runner.stop()

    # The loop

    async def run(self) -> None:
        """Work for as long as the daemon lives."""
        if await asyncio.to_thread(self._size_limit.remove):
            logger.warning("an earlier daemon had left the size limit lifted: removed")
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._poke.wait()
                self._poke.clear()
                await self._turn()
        finally:
            self._runner.stop()

    def _pause(self) -> float | None:
        if self._size_limit.doubtful or self._subscribers.held:
            return LOOK_S
        job = self._job or self._migrations
        return max(job.retry_at - self.clock.monotonic(), LOOK_S) if job else None

    async def _turn(self) -> None:
        if self._size_limit.doubtful and self.postgres.ready:
            await self._runner.verify_size_limit()
        if self._subscribers.held and self._as_wanted and self.postgres.ready:
            await asyncio.to_thread(self._subscribers.release)
        job, migrations = self._job, self._migrations
        if job is not None:
            if self._may_begin(job):
                await self._run_job(job)
        elif migrations is not None and self._may_begin(migrations):
            await self._migrate(migrations)

    async def _run_job(self, job: CatalogJob) -> None:
        result = await self._runner.run_job(job)
        job.end(result)
        if self._job is not job:
            return
        if result.good:
            self._job = None
            self._as_wanted = True
            self.node.server.catalog_error = None
            if result.outcome is CatalogOutcome.DONE:
                self._then_migrate(job.document)
            return
        self.node.server.catalog_error = result.reason
        job.failed(self.clock.monotonic(), at_most_s=self.retry_max_s)

    def _may_begin(self, job: Job) -> bool:
        applied = self.node.state.applied
        return (
            self.postgres.ready
            and not self.node.terminating
            and job.retry_at <= self.clock.monotonic()
            and self.node.proven
            and applied is not None
            and applied.content_sha256 == job.document.content_sha256
        )

    async def _migrate(self, job: Job) -> None:
        try:
            await self._runner.migrate()
        except CatalogError as error:
            self.node.server.catalog_error = str(error)
            job.failed(self.clock.monotonic(), at_most_s=self.retry_max_s)
            return
        self._migrated = True
        if self._migrations is job:
            self._migrations = None
            self.node.server.catalog_error = None
