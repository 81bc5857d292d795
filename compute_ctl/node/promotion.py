"""Promotions of a standby, and the callers who wait for them.

The node holds a promotion, the reconciler works on it: a caller that hangs up does not stop it.
"""

from __future__ import annotations

import asyncio

from msgspec import structs

from compute_common.document.document import Document
from compute_common.errors import ComputeError, RequestError
from compute_common.redact import redact
from compute_ctl.decisions.promotion import IRREVOCABLE, PromotionStatus, PromotionView
from compute_ctl.node.status_machine import StatusMachine
from compute_ctl.ports import Clock


class Promotion:
    """One promotion; its first result counts."""

    def __init__(
        self, *, document: Document | None, who: str, wal_flush_lsn: str | None, clock: Clock
    ) -> None:
        self.document = document
        """None: that in force, as the one of a primary."""
        self.wait_s = 0.0
        """How long the log may take to be replayed."""
        self._clock = clock
        self._since = clock.monotonic()
        self.view = PromotionView(
            status=PromotionStatus.WAITING,
            who=who,
            started_at=clock.wall(),
            wal_flush_lsn=wal_flush_lsn,
        )
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def same_as(self, document: Document | None, wal_flush_lsn: str | None) -> bool:
        """Whether this one was asked for in the same words."""
        mine, theirs = (
            one and (one.content_sha256, one.version) for one in (self.document, document)
        )
        return (mine, self.view.wal_flush_lsn) == (theirs, wal_flush_lsn)

    @property
    def over(self) -> bool:
        """Whether it has ended, for its callers."""
        return self._done.done()

    def replayed(self, lsn: str) -> None:
        """Show how far the log is replayed."""
        self.view = structs.replace(self.view, replayed_lsn=lsn)

    def enter(self, status: PromotionStatus) -> None:
        """Go on to *status*, and show how long the one before has taken."""
        now = self._clock.monotonic()
        took, self._since = round((now - self._since) * 1000), now
        view = self.view
        if view.status is PromotionStatus.WAITING:
            view = structs.replace(view, lsn_wait_time_ms=took)
        elif view.status is PromotionStatus.PROMOTING:
            view = structs.replace(view, pg_promote_time_ms=took)
        elif view.status in (PromotionStatus.PREPARING, PromotionStatus.APPLYING):
            view = structs.replace(view, reconfigure_time_ms=view.reconfigure_time_ms + took)
        self.view = structs.replace(view, status=status)

    def complete(self, *, before: bool = False) -> None:
        """Tell the callers that the server is a primary and runs with the document.

        *before*: it did already, so nothing has taken any time.
        """
        self.enter(PromotionStatus.COMPLETED)
        self.view = structs.replace(self.view, finished_at=self._clock.wall())
        if before:
            self.view = structs.replace(self.view, lsn_wait_time_ms=0)
        if not self.over:
            self._done.set_result(None)

    def fail(self, error: ComputeError, *, status: PromotionStatus | None = None) -> None:
        """Tell the callers why that is not so; *status*: what to show, failed unless given."""
        self.enter(status or PromotionStatus.FAILED)
        self.view = structs.replace(
            self.view, finished_at=self._clock.wall(), error=redact(str(error))
        )
        self.answer(error)

    def answer(self, error: ComputeError) -> None:
        """Answer the callers; the promotion goes on."""
        if not self.over:
            self._done.set_exception(error)
            self._done.exception()  # retrieved, so that asyncio does not log it

    async def wait(self, timeout_s: float) -> None:
        """Wait for the end; raises what `fail` was given, or RequestError 504."""
        try:
            await asyncio.wait_for(asyncio.shield(self._done), timeout_s)
        except TimeoutError:
            raise RequestError(
                504,
                f"the promotion has not ended within {timeout_s:g} s",
                hint="The work goes on; see /status.",
            ) from None


class PromotionRequests:
    """The promotions of one node, one at a time."""

    def __init__(self, machine: StatusMachine, clock: Clock) -> None:
        self._machine = machine
        self._clock = clock
        self.current: Promotion | None = None
        """The one that the reconciler has not finished."""
        self.unfinished: Document | None = None
        """Of the promotion in which an earlier daemon ended."""
        self._last: Promotion | None = None

    async def promote(
        self,
        document: Document | None,
        *,
        who: str,
        wal_flush_lsn: str | None,
        wait_s: float,
        timeout_s: float,
    ) -> PromotionView:
        """Promote the standby, and wait until it is a primary and runs with *document*.

        *wait_s*: how long the log may take to be replayed up to *wal_flush_lsn*.

        Raises:
            SpecError: the document is refused.
            RequestError: 409 older, superseded, or another promotion is under way; 412 not a
                standby, or terminating; 500 failed; 503 Postgres is down; 504 too late.
        """
        self._machine.refuse_terminating()
        promotion = self.current
        if promotion is None or promotion.over or not promotion.same_as(document, wal_flush_lsn):
            if promotion is not None and promotion.view.status in IRREVOCABLE:
                raise RequestError(409, "another promotion is under way")
            self.end("another promotion")
            promotion = Promotion(
                document=document, who=who, wal_flush_lsn=wal_flush_lsn, clock=self._clock
            )
            promotion.wait_s = wait_s
            self.current = self._last = promotion
        self._machine.wake.set()
        await promotion.wait(timeout_s)
        return promotion.view

    def resume(self, document: Document) -> Promotion:
        """Resume the promotion that an earlier daemon left unfinished; no caller waits for it."""
        self.unfinished = None
        self.current = self._last = Promotion(
            document=document, who="an earlier daemon", wal_flush_lsn=None, clock=self._clock
        )
        self.current.enter(PromotionStatus.PROMOTING)
        return self.current

    def found_unfinished(self, document: Document) -> None:
        """Note that the live file is that of a promotion to *document* which has not ended."""
        self.unfinished = document

    @property
    def irrevocable(self) -> bool:
        """Whether a promotion has written the settings of the primary, and has not ended."""
        current = self.current
        return self.unfinished is not None or (
            current is not None and current.view.status in IRREVOCABLE
        )

    def supersede(self, by: str) -> None:
        """End the current promotion, since *by* takes its place, where it still can be ended."""
        if not self.irrevocable:
            self.end(by)

    def end(self, by: str) -> None:
        """End the current promotion, since *by* takes its place."""
        if self.current is not None:
            error = RequestError(409, f"the promotion was superseded by {by}")
            self.current.fail(error, status=PromotionStatus.NOT_PROMOTED)
            self.current = None

    def finish(self, promotion: Promotion) -> None:
        """Forget *promotion*, unless another has taken its place."""
        if self.current is promotion:
            self.current = None

    @property
    def view(self) -> PromotionView | None:
        """What is shown of the last promotion; None: there was none."""
        return self._last.view if self._last is not None else None
