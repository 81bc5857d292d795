"""Promotes a standby: wait for the log ▸ settings of the primary ▸ pg_promote ▸ the document.

What takes long runs in a task beside the loop, so that refreshes go on: a standby whose pageserver
dies must heal before it can be promoted. What writes the file is called by the loop. Before
`pg_promote` all can be undone, and a failure leaves a standby that follows as before; after it
nothing can: the document is then applied like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from compute_common.document.document import Document
from compute_common.errors import ComputeError, RequestError
from compute_common.system import failpoint
from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import GOOD_OUTCOMES, PUSH, Outcome
from compute_ctl.decisions.promotion import PromotionStatus
from compute_ctl.decisions.transitions import Event
from compute_ctl.node import Node
from compute_ctl.node.promotion import Promotion
from compute_ctl.ports import CatalogRequests, Postgres
from compute_ctl.reconciler.applier import Applier
from compute_ctl.reconciler.attempts import Attempts
from compute_ctl.reconciler.budget import bounded
from compute_ctl.reconciler.promotion_config import PromotionConfig
from compute_ctl.reconciler.promotion_tasks import PromotionTasks
from compute_ctl.settings import Deadlines

logger = logging.getLogger(__name__)

RETRY_S: Final = 2.0
"""After the disk has refused the document of a new primary."""
PROMOTED: Final = "postgres is a primary now, but the document is not in force"


@dataclass(kw_only=True, eq=False)
class Promoter:
    """Works on the promotions of one node; the loop calls `advance` in every turn."""

    node: Node
    config: PromotionConfig
    applier: Applier
    attempts: Attempts
    postgres: Postgres
    tasks: PromotionTasks | None
    """None: nothing can be promoted."""
    catalog: CatalogRequests | None
    deadlines: Deadlines
    _promotion: Promotion | None = field(default=None, init=False)
    """The one that `_task` works for."""
    _document: Document | None = field(default=None, init=False)
    _task: asyncio.Task[str] | None = field(default=None, init=False)
    """Returns why the standby cannot be promoted; '' where it can go on."""

    async def advance(self) -> bool:
        """Do what can be done now; return whether something was, so that the turn begins anew."""
        promotion = self.node.promotions.current
        if promotion is not self._promotion:
            self.drop()
        if promotion is None:
            return await self._resume()
        if self._task is None:
            return await self._begin(promotion)
        if not self._task.done():
            return False
        reason, self._task = _result(self._task), None
        document = self._document
        if document is None:
            raise ValueError("a promotion without a document has begun")
        if promotion.view.status is PromotionStatus.WAITING:
            if reason:
                await self._not_promoted(promotion, reason)
            else:
                await self._prepare(promotion, document)
        elif reason:
            await self._go_back(promotion, document, reason)
        else:
            await self._apply(promotion, document)
        return True

    @property
    def urgent(self) -> bool:
        """Whether a promotion waits for the loop."""
        waits = self.node.promotions.current is not None
        return waits and (self._task is None or self._task.done())

    def drop(self) -> None:
        """Give up what runs beside the loop; a call of pg_promote that has begun goes on."""
        task, self._task, self._promotion, self._document = self._task, None, None, None
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """End with the loop: the compute terminates."""
        self.node.promotions.end("the end of the compute")
        self.drop()

    def _start(self, promotion: Promotion, work: Coroutine[Any, Any, str]) -> None:
        self._promotion = promotion
        self._task = asyncio.create_task(work, name="promotion")
        self._task.add_done_callback(lambda _: self.node.wake.set())

    def _fail(self, promotion: Promotion, error: ComputeError) -> None:
        logger.error("the promotion failed: %s", error)
        promotion.fail(error)
        self.node.promotions.finish(promotion)
        self.drop()

    # Before anything is written

    async def _begin(self, promotion: Promotion) -> bool:
        """Check *promotion*, and wait for the log; return whether it has ended at once."""
        try:
            if self.tasks is None:
                raise RequestError(501, "this is not implemented here")
            document = promotion.document or await self.config.of_primary()
            if self._is_done(document):
                promotion.complete(before=True)
                self.node.promotions.finish(promotion)
                return True
            await self.config.check(document)
        except ComputeError as error:
            self._fail(promotion, error)
            return True
        self._document = document
        logger.info("promotion by %s begins", promotion.view.who)
        self._start(promotion, self.tasks.replay(promotion))
        return False

    def _is_done(self, document: Document) -> bool:
        """Return whether the server is a primary and runs with *document*.

        Raises:
            RequestError: it is no standby, or not ready.
        """
        written, in_recovery = self.node.config.written, self.postgres.in_recovery
        if in_recovery is None:
            raise RequestError(503, "postgres does not accept connections")
        if written is None:
            raise RequestError(412, "no document is in force yet")
        if in_recovery:
            return False
        if written.proven and written.content_sha256 == document.content_sha256:
            return True
        raise RequestError(
            412,
            "postgres is a primary already",
            hint="Bring another document into force with /configure.",
        )

    async def _not_promoted(self, promotion: Promotion, reason: str) -> None:
        """End *promotion*; nothing was changed."""
        begun = self.attempts.begin()
        result = ApplyResult(outcome=Outcome.NOT_PROMOTED, reason=reason)
        self._attempted(begun, promotion, result)
        self._fail(promotion, RequestError(500, reason))

    # What the loop does

    def _attempted(self, begun: Any, promotion: Promotion, result: ApplyResult) -> None:
        who = f"promotion by {promotion.view.who}"
        self.attempts.end(begun, result, who=who, served=self.node.requests.taken)

    def _works(self, why: str) -> None:
        """Show that a document is being applied, as for a pushed one."""
        self.node.move(Event.CONFIGURE, why)
        self.node.move(Event.PUSH_STARTED_ONLINE)

    async def _prepare(self, promotion: Promotion, document: Document) -> None:
        """Give the standby the settings of the primary, and have it promoted."""
        promotion.enter(PromotionStatus.PREPARING)
        begun = self.attempts.begin()
        self._works("a promotion is prepared")
        with bounded(self.deadlines.apply_total):
            try:
                if not self.postgres.in_recovery:
                    raise RequestError(412, "postgres is no standby any more")
                result = await self.config.prepare(document)
            except ComputeError as error:
                result = ApplyResult(outcome=Outcome.NOT_PROMOTED, reason=str(error))
            else:
                if result.outcome is not Outcome.APPLIED:
                    back = await self.config.go_back(document, result.reason)
                    result = _not_promoted(back)
        self._attempted(begun, promotion, result)
        self.attempts.leave(result)
        if result.outcome is not Outcome.APPLIED:
            self._fail(promotion, RequestError(500, result.reason))
        elif self.tasks is not None and self.node.promotions.current is promotion:
            promotion.enter(PromotionStatus.PROMOTING)
            self._start(promotion, self.tasks.promote(promotion))

    async def _go_back(self, promotion: Promotion, document: Document, reason: str) -> None:
        """Have the standby follow as before."""
        begun = self.attempts.begin()
        self._works("the promotion failed")
        with bounded(self.deadlines.apply_total):
            result = _not_promoted(await self.config.go_back(document, reason))
        self._attempted(begun, promotion, result)
        self.attempts.leave(result)
        self._fail(promotion, RequestError(500, result.reason))

    async def _apply(self, promotion: Promotion, document: Document) -> None:
        """Bring *document* into force on the new primary."""
        failpoint.reach("after-promote")
        promotion.enter(PromotionStatus.APPLYING)
        begun = self.attempts.begin()
        self.config.promoted()
        self._works("postgres is promoted")
        desired = self.node.config.desired
        with bounded(self.deadlines.apply_total):
            if desired is None or desired.content_sha256 != document.content_sha256:
                reason = "a newer document was taken meanwhile"
                result = ApplyResult(outcome=Outcome.SUPERSEDED, reason=reason)
            else:
                result = await self.applier.apply(document, source=PUSH, force=True)
        self._attempted(begun, promotion, result)
        self.attempts.leave(result)
        if result.outcome is Outcome.WRITE_FAILED:  # the source may never bring this document
            reason = f"{PROMOTED}: {result.reason}; it is tried again"
            promotion.answer(RequestError(500, reason))
            self._start(promotion, _pause())
            return
        if result.outcome not in GOOD_OUTCOMES:
            self._fail(promotion, RequestError(500, f"{PROMOTED}: {result.reason}"))
            return
        if self.catalog is not None:
            _later = self.catalog.request(document, force=True)  # nobody waits for it
        promotion.complete()
        self.node.promotions.finish(promotion)
        self.drop()

    async def _resume(self) -> bool:
        """Resume a promotion that an earlier daemon left unfinished, once Postgres is ready."""
        document = self.node.promotions.unfinished
        if document is None or self.tasks is None or self.postgres.in_recovery is None:
            return False
        promotion = self.node.promotions.resume(document)
        self._document = document
        reason = "the daemon ended during a promotion"
        logger.warning("%s", reason)
        self._start(promotion, self.tasks.resume(reason))
        return True


async def _pause() -> str:
    """Wait until the document is to be written again."""
    await asyncio.sleep(RETRY_S)
    return ""


def _not_promoted(back: ApplyResult) -> ApplyResult:
    """Return *back*, the way back from a failed promotion, as the end of an attempt."""
    return ApplyResult(outcome=Outcome.NOT_PROMOTED, reason=back.reason, broken=back.broken)


def _result(task: asyncio.Task[str]) -> str:
    """Return what *task* did; a mistake in it counts as a failed promotion."""
    try:
        return task.result()
    except Exception as error:  # whatever it is, the loop must not die of it
        logger.exception("unhandled exception in a promotion")
        return f"unhandled exception: {error!r}"
