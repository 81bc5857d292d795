"""Compares what runs with what is written, and repairs what differs.

A check asks over SQL and may take as long as SQL is given to answer. So while Postgres waits for
servers it is made beside the loop, which a heal needs; what it found is handled in the loop.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf

from compute_ctl.decisions.apply_plan import ApplyResult, reasons
from compute_ctl.decisions.model import GOOD_OUTCOMES, Outcome
from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.document.generation import Marker
from compute_ctl.errors import StoreError
from compute_ctl.node import Node
from compute_ctl.ports import Clock
from compute_ctl.reconciler.applier import Applier
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.verifier import Verifier

logger = logging.getLogger(__name__)


class DriftChecker:
    """Makes one check at a time."""

    def __init__(
        self,
        *,
        node: Node,
        store: GenerationStore,
        verifier: Verifier,
        applier: Applier,
        clock: Clock,
    ) -> None:
        self._node = node
        self._store = store
        self._verifier = verifier
        self._applier = applier
        self._clock = clock
        self._task: asyncio.Task[Verdict | None] | None = None
        self._marker: Marker | None = None
        """Of the generation that was in the file when the check began."""
        self._reloaded_for: tuple[Complaint, ...] = ()
        """The settings with older values for which the server was last reloaded."""

    # Beside the loop

    def begin(self) -> None:
        """Begin the check that is wanted, if it may begin by now."""
        now = self._clock.monotonic()
        if self._task is not None or self._node.drift_checks.due_at > now:
            return
        self._node.drift_checks.begin(now)
        self._marker = self._written
        self._task = asyncio.create_task(self._verifier.inspect(), name="drift check")
        self._task.add_done_callback(lambda _: self._node.wake.set())

    @property
    def _written(self) -> Marker | None:
        return self._node.config.written.marker if self._node.config.written is not None else None

    @property
    def next_at(self) -> float:
        """When the next one may begin, in monotonic seconds; infinity: not before this one ends."""
        return inf if self._task is not None else self._node.drift_checks.due_at

    @property
    def ended(self) -> bool:
        """Whether a check has ended that `finish` is to handle."""
        return self._task is not None and self._task.done()

    async def finish(self) -> ApplyResult | None:
        """Handle what the check that has ended found; return how a repair ended, if there was one.

        It is ignored where another generation was written since the check began.
        """
        task, self._task = self._task, None
        if task is None or task.cancelled() or self._marker != self._written:
            verdict = None
        else:
            verdict = task.result()
        try:
            return await self._handle(verdict)
        except StoreError as error:
            return ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
        finally:
            self._node.drift_checks.end()

    def drop(self) -> None:
        """Give up the check that is under way."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    # In the loop

    async def after_fetch(self, result: ApplyResult, *, asked: bool) -> ApplyResult:
        """Check what is in force after a fetch that ended with *result*; return how both ended.

        *asked*: somebody wants to know. While Postgres waits for servers the check is made beside
        the loop.
        """
        if self._node.requests.worker_complains:
            if asked or result.outcome is Outcome.UNCHANGED:
                self._node.request_drift_check(hurry=asked)
            return result
        if not asked:
            return result
        self._node.drift_checks.begin(self._clock.monotonic())
        try:
            repair = await self._check_all()
        except StoreError as error:
            logger.error("%s", error)
            return result
        finally:
            self._node.drift_checks.end()
        if repair is None:
            return result
        worse = repair.outcome not in GOOD_OUTCOMES
        return repair if worse or result.outcome is Outcome.UNCHANGED else result

    async def _check_all(self) -> ApplyResult | None:
        """Check the files, and then what the server runs; return how a repair ended."""
        written = self._node.config.written
        if written is not None and await self._store.mend(written, self._node.config.state.floor):
            self._node.start.end()  # a server may have been started with what was there
            return await self._applier.verify_again()
        if await self._store.include():
            return await self._applier.verify_again()
        return await self._handle(await self._verifier.inspect())

    async def _handle(self, verdict: Verdict | None) -> ApplyResult | None:
        """Record what a check has found; return how a repair ended, if there was one."""
        if verdict is None or (verdict.blind and not verdict.bad and self._node.config.proven):
            return None  # silence is not evidence
        if verdict.rejected:
            return await self._applier.conclude(verdict)
        before = self._node.config.verdict
        for complaint in verdict.shadowed:
            if before is None or complaint not in before.shadowed:
                logger.warning("drift: %s", reasons((complaint,)))
        if verdict.stale and verdict.shadowed != self._reloaded_for:
            self._reloaded_for = verdict.shadowed  # one reload; what it does not repair is shown
            return await self._applier.verify_again()
        if verdict.proof is Proof.NONE:
            self._node.looked(verdict)
            return None
        self._node.proved(verdict)
        await self._store.save(self._node.config.state)
        return None
