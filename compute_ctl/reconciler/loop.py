"""The one loop that works: waits until something is due, and brings Postgres up to date.

Level-triggered: every turn looks at the node afresh, so a lost wake-up costs a delay, never the
work. A push cancels a fetch, but not an application: that has a deadline, and the newer document
becomes the next generation.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite

from compute_common.errors import SpecError, SyntaxSpecError
from compute_ctl.decisions import pacing
from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import GOOD_OUTCOMES, PUSH, Outcome, RequestOrigin
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.errors import FetchError
from compute_ctl.node import Node
from compute_ctl.node.push import Push
from compute_ctl.ports import Clock, Postgres
from compute_ctl.reconciler.applier import Applier
from compute_ctl.reconciler.attempts import CHECKS_TOO, LOOK, NOT_TAKEN, REFUSED, SUSPECTS, Attempts
from compute_ctl.reconciler.budget import bounded
from compute_ctl.reconciler.candidate_switch import CANDIDATE, FIRST, CandidateSwitch
from compute_ctl.reconciler.drift_checker import DriftChecker
from compute_ctl.reconciler.fetcher import Fetcher, FetchInterruptedError, News
from compute_ctl.reconciler.promoter import Promoter
from compute_ctl.reconciler.pushes import Pushes
from compute_ctl.reconciler.recovery import Recovery
from compute_ctl.reconciler.schedule import Schedule
from compute_ctl.reconciler.start_fallback import StartFallback
from compute_ctl.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Reconciler:
    """Drives one node; `run` is its task."""

    node: Node
    fetcher: Fetcher
    applier: Applier
    candidates: CandidateSwitch
    drift: DriftChecker
    recovery: Recovery
    start_fallback: StartFallback
    promoter: Promoter
    pushes: Pushes
    attempts: Attempts
    schedule: Schedule
    postgres: Postgres
    clock: Clock
    settings: Settings
    rng: random.Random
    _refused: ApplyResult | None = field(default=None, init=False)
    """What became of the newest document of the source, where it was refused."""

    async def run(self) -> None:
        """Work until the compute terminates."""
        if not self.node.terminating:  # somebody may have come before this task
            self.node.request_refresh(who="start", source=RequestOrigin.CLOCK)
        try:
            while not self.node.terminating:
                await self._turn()
        finally:
            self.drift.drop()
            self.promoter.close()

    async def _turn(self) -> None:
        node = self.node
        node.wake.clear()
        if (failure := node.start.take_failure()) is not None:
            await self.start_fallback.handle(failure)
            return
        if node.start.take_ready():
            await self.recovery.note_start()
            return
        if node.pushes.current is not None:
            node.promotions.supersede("a pushed document")
            await self._configure(node.pushes.current)
            return
        # A long poll may say when to ask again, or name other servers.
        if await self.promoter.advance() or await self._take_long_poll():
            return
        if await self._switch_candidate() or await self._finish_drift_check():
            return
        now = self.clock.monotonic()
        due = self.schedule.due(now, held=self.fetcher.held)
        node.attempts.plan(due.at if isfinite(due.at) else None)
        if due.at <= now:
            self.schedule.fetching(now, due.why)
            await self._refresh(self.fetcher.fetch(), who=due.why)
            return
        if node.status is Status.REFRESH_CONFIGURATION_PENDING and not self.schedule.wanted(now):
            node.requests.clear_suspicion()
            node.settle("nobody complains any more")
        await self._rest(min(due.at, self.schedule.quiet_at(now)) - now)

    async def _rest(self, seconds: float) -> None:
        """Wait until something happens; the next turn looks for the most urgent first."""
        self._long_poll()
        self.drift.begin()
        check_in = self.drift.next_at - self.clock.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(seconds, check_in))):
                await self.node.wake.wait()

    async def _take_long_poll(self) -> bool:
        """Attend to a long poll that has ended; return whether one had."""
        ended = self.fetcher.ended_long_poll()
        if ended is not None:
            await self._refresh(ended, who="long_poll")
        return ended is not None

    async def _switch_candidate(self) -> bool:
        """Use another pageserver of the document, if need be; the source is asked all the same."""
        if not self.candidates.due:
            return False
        begun, node = self.attempts.begin(), self.node
        with bounded(self.settings.deadlines.apply_total):
            result = await self.candidates.switch()
        self.attempts.end(begun, result, who=CANDIDATE, served=node.requests.served)
        self._leave(result)
        if not node.requests.pending and not node.terminating:
            node.request_refresh(who=CANDIDATE, source=RequestOrigin.CLOCK)
        return True

    async def _finish_drift_check(self) -> bool:
        """Handle a drift check that has ended; return whether one had.

        What it found is saved meanwhile, so a push may have come: the turn has to begin anew.
        """
        if not self.drift.ended:
            return False
        begun = self.clock.monotonic(), self.clock.wall()
        with bounded(self.settings.deadlines.apply_total):
            result = await self.drift.finish()
        if result is None:
            self.pushes.proven()
            return True
        self.attempts.begin()
        self.attempts.end(begun, result, who=LOOK, served=self.node.requests.served)
        self._leave(result)
        return True

    def _long_poll(self) -> None:
        """Open a long poll, while suspicion lasts or where the source wants one."""
        if self.schedule.calm() and not self.fetcher.invited:
            self.fetcher.drop_long_poll()
            return
        self.fetcher.long_poll(
            on_end=self.node.wake.set,
            wait_s=pacing.long_poll_wait_s(self.rng.random()),
            delay_s=pacing.long_poll_reopen_s(self.rng.random()),
            left_alone=self.schedule.left_alone,
            calm=self.schedule.calm,
            retry_s=self.schedule.retry_s,
        )

    # One attempt

    async def _refresh(self, fetch: Awaitable[News | None], *, who: str) -> None:
        """Fetch, apply what is new, and set the status that the outcome demands."""
        node, begun = self.node, self.attempts.begin()
        node.move(Event.REFRESH)
        node.move(Event.FETCH_STARTED)
        # Once for each trouble, not for each of its attempts.
        known = node.attempts.error or who == pacing.Why.SUSPICION
        if node.requests.suspected(begun[0]):
            logger.log(logging.DEBUG if known else logging.INFO, SUSPECTS)
        asked = who in CHECKS_TOO
        who = self.attempts.caller(who)
        force = node.requests.take()
        served = node.requests.taken
        news: News | FetchError | SpecError | None
        try:
            news = await self.fetcher.first_news(fetch, wake=node.wake, interrupted=self._gives_way)
        except FetchInterruptedError:
            outcome = Outcome.TERMINATED if node.terminating else Outcome.SUPERSEDED
            served = served if self._interrupted() else node.requests.served  # it is made again
            first = "a promotion comes first" if self.promoter.urgent else FIRST
            result = ApplyResult(outcome=outcome, reason="" if self._interrupted() else first)
            self.attempts.end(begun, result, who=who, served=served)
            self._leave(result)
            return
        except (FetchError, SpecError) as error:
            news = error
        with bounded(self.settings.deadlines.apply_total):
            result = await self._answered(news, force=force)
            if result.outcome is not Outcome.FETCH_FAILED:
                self._refused = result if result.outcome in REFUSED else None
            if result.outcome in NOT_TAKEN and not result.broken and not self._interrupted():
                await self._unchanged()  # what is written may be provable by now
            if result.outcome is not Outcome.APPLIED:
                result = await self.drift.after_fetch(result, asked=asked)
        self.attempts.end(begun, result, who=who, served=served)
        self._leave(result)

    async def _answered(
        self, news: News | FetchError | SpecError | None, *, force: bool
    ) -> ApplyResult:
        """Act on what a fetch has brought, or on its failure."""
        if isinstance(news, FetchError | SyntaxSpecError):
            return self._fetch_failed(news)
        if isinstance(news, SpecError):
            self.schedule.attached()
            return ApplyResult(outcome=Outcome.REJECTED, reason=str(news), invalid=True)
        return await self._fetched(news, force=force)

    def _interrupted(self) -> bool:
        """Whether a push or the end of the compute makes the present fetch pointless."""
        return self.node.pushes.current is not None or self.node.terminating

    def _gives_way(self) -> bool:
        """Whether anything comes before the present fetch."""
        return self._interrupted() or self.promoter.urgent or self.candidates.due

    async def _fetched(self, news: News | None, *, force: bool) -> ApplyResult:
        self.schedule.answered(to_long_poll=news is None or news.long_polled)
        if news is None:
            return self._refused or await self._unchanged()
        if news.document is None:
            return self._empty(news)
        self.schedule.attached()
        result = await self.applier.apply(news.document, source=self.fetcher.name, force=force)
        self.pushes.want_catalog(news.document, result)  # a refresh does not wait for it
        return result

    async def _unchanged(self) -> ApplyResult:
        """Nothing new is to be written; verify what is written, if that is yet to be done."""
        if self.node.config.written is None or self.node.config.proven:
            return ApplyResult(outcome=Outcome.UNCHANGED)
        return await self.applier.verify_again()

    def _fetch_failed(self, error: FetchError | SyntaxSpecError) -> ApplyResult:
        """Count the failure."""
        self.schedule.failed(error)
        lasting = isinstance(error, FetchError) and error.lasting
        return ApplyResult(outcome=Outcome.FETCH_FAILED, reason=str(error), lasting=lasting)

    def _empty(self, news: News) -> ApplyResult:
        """Believe a detach only when it is said twice, at least the grace period apart.

        The second time must be a plain fetch: the answer to a long poll may have waited here.
        """
        if self.schedule.empty(self.clock.monotonic()) and not news.long_polled:
            self.schedule.attached()
            self.node.detach()
            return ApplyResult(outcome=Outcome.EMPTY, reason="the source said twice: empty")
        grace = self.settings.deadlines.empty_grace
        reason = f"the source says that this compute is empty; asking again within {grace:g} s"
        return ApplyResult(outcome=Outcome.EMPTY, reason=reason)

    def _leave(self, result: ApplyResult) -> None:
        """Move to the status after an attempt, and answer the push that it may have proven."""
        if self.attempts.leave(result):
            self.pushes.proven()

    # A push

    async def _configure(self, push: Push) -> None:
        """Apply a pushed document."""
        node, begun = self.node, self.attempts.begin()
        node.move(
            Event.PUSH_STARTED_ONLINE if self.postgres.running else Event.PUSH_STARTED_OFFLINE
        )
        served = node.requests.taken
        self.schedule.attached()  # whoever pushes does not think it is detached
        self._refused = None
        with bounded(self.settings.deadlines.apply_total):
            if push.document is None:
                result = await self.applier.roll_back(old_upstream=push.old_upstream)
            else:
                result = await self.applier.apply(push.document, source=PUSH)
        self.attempts.end(begun, result, who=push.who, served=served)
        node.pushes.finish(push)
        push.catalog = self.pushes.want_catalog(push.document, result, force=True)
        fits = result.outcome not in GOOD_OUTCOMES or await self.pushes.catalog_fits(push)
        self.pushes.answer(push, result)
        if not fits or node.terminating or node.pushes.current is not None:
            return
        if result.outcome in GOOD_OUTCOMES or result.outcome is Outcome.UNPROVEN:
            self._leave(result)
        else:
            node.move(Event.ATTEMPT_FAILED, result.reason)
