"""The one loop that works: waits until something is due, and brings Postgres up to date.

Level-triggered: every turn looks at the node afresh, so a lost wake-up costs a delay, never the
work. What is due when is decided by `pacing`; what a document is worth by `attempt`; this module
only connects them. A push cancels a fetch, but not an application: that is bounded, and the newer
document becomes the next generation.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable
from contextlib import suppress
from math import isfinite
from typing import Final

from compute_ctl.decisions import pacing
from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import GOOD_OUTCOMES, PUSH, Outcome, RequestOrigin, StartFailure
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.errors import (
    FetchError,
    SpecError,
    StoreError,
    SyntaxSpecError,
)
from compute_ctl.node import Node
from compute_ctl.node.push import Push
from compute_ctl.ports import CatalogRequests, Clock, Postgres
from compute_ctl.reconciler.applier import Applier
from compute_ctl.reconciler.attempts import Attempts
from compute_ctl.reconciler.budget import bounded
from compute_ctl.reconciler.fetcher import Fetcher, News
from compute_ctl.reconciler.looks import Looker
from compute_ctl.reconciler.pushes import Pushes
from compute_ctl.reconciler.schedule import Schedule
from compute_ctl.settings import Settings

logger = logging.getLogger(__name__)

SUSPECTS: Final = (
    "compute node suspects its configuration is out of date, now refreshing configuration"
)
"""As the reference says it."""
UNSETTLED: Final = frozenset({Outcome.FETCH_FAILED, Outcome.EMPTY})
"""Outcomes after which it is worth asking again soon."""
LOOKS_TOO: Final = frozenset({pacing.Why.TICK, pacing.Why.OPERATOR, pacing.Why.FORCED})
"""Fetches for which somebody has time for a look at what is in force as well."""

RETRY: Final = "operator_retry"
"""An attempt for somebody whose request has failed, where Postgres itself suspects nothing."""

LOOK: Final = "look"
"""What was done about something that a look at what runs has found."""


class _InterruptedError(Exception):
    """A push or the end of the compute is more important than this fetch."""


class Reconciler:
    """Drives one node; `run` is its task."""

    def __init__(
        self,
        *,
        node: Node,
        applier: Applier,
        fetcher: Fetcher,
        postgres: Postgres,
        clock: Clock,
        settings: Settings,
        rng: random.Random,
        catalog: CatalogRequests | None = None,
    ) -> None:
        self._node = node
        self._applier = applier
        self._fetcher = fetcher
        self._postgres = postgres
        self._clock = clock
        self._settings = settings
        self._rng = rng
        self._schedule = Schedule(node=node, clock=clock, settings=settings, rng=rng)
        self._attempts = Attempts(node=node, clock=clock, schedule=self._schedule, catalog=catalog)
        self._pushes = Pushes(node=node, catalog=catalog)
        self._looker = Looker(node=node, clock=clock, look=applier.look)

    async def run(self) -> None:
        """Work until the compute terminates."""
        if not self._node.terminating:  # somebody may have come before this task
            self._node.request_refresh(who="start", source=RequestOrigin.CLOCK)
        try:
            while not self._node.terminating:
                await self._turn()
        finally:
            self._looker.drop()

    async def _turn(self) -> None:
        node = self._node
        node.wake.clear()
        if node.start_failure is not None:
            await self._fall_back_for_start(node.start_failure)
            return
        if node.start_seen:
            node.start_seen = False
            await self._applier.note_start()
        if node.push is not None:
            await self._configure(node.push)
            return
        if await self._take_long_poll():  # it may say when to ask again
            return
        if await self._take_look():
            return
        now = self._clock.monotonic()
        due = self._schedule.due(now, held=self._fetcher.held)
        node.next_attempt_at = due.at if isfinite(due.at) else None
        if due.at <= now:
            self._schedule.fetching(now, due.why)
            await self._refresh(self._fetcher.fetch(), who=due.why)
            return
        if node.status is Status.REFRESH_CONFIGURATION_PENDING and not self._schedule.wanted(now):
            node.requests.clear_suspicion()
            node.settle("nobody complains any more")
        await self._rest(min(due.at, self._schedule.quiet_at(now)) - now)

    async def _rest(self, seconds: float) -> None:
        """Wait until something happens: a request, a push, news by long poll, or time passes.

        What happened is for the next turn: it looks for the most urgent first.
        """
        self._long_poll()
        self._looker.begin()
        look_in = self._looker.next_at - self._clock.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(seconds, look_in))):
                await self._node.wake.wait()

    async def _take_long_poll(self) -> bool:
        """Attend to a long poll that has ended; return whether one had."""
        ended = self._fetcher.ended_long_poll()
        if ended is not None:
            await self._refresh(ended, who="long_poll")
        return ended is not None

    async def _take_look(self) -> bool:
        """Attend to a look that has ended; return whether that was work."""
        ended, verdict = self._looker.take()
        if not ended:
            return False
        begun = self._clock.monotonic(), self._clock.wall()
        try:
            with bounded(self._settings.deadlines.apply_total):
                result = await self._applier.looked(verdict)
        except StoreError as error:
            result = ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
        self._node.drift_checks.end()
        if result is None:
            self._pushes.proven()
            return False
        self._attempts.begin()
        self._attempts.end(begun, result, who=LOOK, served=self._node.requests.served)
        self._leave(result)
        return True

    def _long_poll(self) -> None:
        """While suspicion lasts, let the source tell the news as soon as there are any."""
        if not self._node.requests.suspected(self._clock.monotonic()):
            self._fetcher.drop_long_poll()
            return
        self._fetcher.long_poll(
            on_end=self._node.wake.set,
            wait_s=pacing.long_poll_wait_s(self._rng.random()),
            delay_s=pacing.long_poll_reopen_s(self._rng.random()),
            left_alone=self._schedule.left_alone,
        )

    # One attempt

    async def _refresh(self, fetch: Awaitable[News | None], *, who: str) -> None:
        """Fetch, apply what is new, and go where the outcome leads."""
        node, begun = self._node, self._attempts.begin()
        node.move(Event.REFRESH)
        node.move(Event.FETCH_STARTED)
        # Once for each trouble, not for each of its attempts.
        level = logging.DEBUG if node.error or who == pacing.Why.SUSPICION else logging.INFO
        if node.requests.suspected(begun[0]):
            logger.log(level, SUSPECTS)
        asked = who in LOOKS_TOO
        who = self._caller(who)
        force = node.requests.take()
        served = node.requests.taken
        news: News | FetchError | SpecError | None
        try:
            news = await self._interruptible(fetch)
        except _InterruptedError:
            outcome = Outcome.TERMINATED if node.terminating else Outcome.SUPERSEDED
            self._attempts.end(begun, ApplyResult(outcome=outcome), who=who, served=served)
            return
        except (FetchError, SpecError) as error:
            news = error
        with bounded(self._settings.deadlines.apply_total):
            result = await self._answered(news, force=force)
            if result.outcome is not Outcome.APPLIED:
                result = await self._inspect(result, asked=asked)
        self._attempts.end(begun, result, who=who, served=served)
        self._leave(result)

    async def _answered(
        self, news: News | FetchError | SpecError | None, *, force: bool
    ) -> ApplyResult:
        """Act on what a fetch has brought, or on its failure."""
        if isinstance(news, FetchError | SyntaxSpecError):
            return await self._fetch_failed(news)
        if isinstance(news, SpecError):
            return ApplyResult(outcome=Outcome.REJECTED, reason=str(news), invalid=True)
        return await self._fetched(news, force=force)

    def _caller(self, who: str) -> str:
        """Return what an attempt is called whose fetch is made for the reason *who*."""
        requests = self._node.requests
        if who == pacing.Why.OPERATOR and not requests.by_operator:
            return RequestOrigin.CLOCK  # its own start, or a server that has come back
        if who == pacing.Why.SUSPICION and not requests.worker_complains:
            return RETRY
        return who

    async def _inspect(self, result: ApplyResult, *, asked: bool) -> ApplyResult:
        """Look at what is in force, whatever has become of the document; return how it ended.

        While Postgres waits for news that is left to the `Looker`: a look may take as long as SQL
        is given to answer.
        """
        if self._node.requests.worker_complains:
            if asked or result.outcome is Outcome.UNCHANGED:
                self._node.request_drift_check(hurry=asked)
            return result
        if not asked:
            return result
        self._node.drift_checks.begin(self._clock.monotonic())
        try:
            done = await self._applier.inspect()
        except StoreError as error:
            logger.error("%s", error)
            return result
        finally:
            self._node.drift_checks.end()
        worse = done is not None and done.outcome not in GOOD_OUTCOMES
        return done if done and (worse or result.outcome is Outcome.UNCHANGED) else result

    async def _interruptible(self, fetch: Awaitable[News | None]) -> News | None:
        """Await *fetch* unless a push or the end of the compute comes first.

        The first news wins: where a long poll brings them beside a fetch that hangs, they are
        returned, and the fetch is given up.
        """
        task = asyncio.ensure_future(fetch)
        task.add_done_callback(lambda _: self._node.wake.set())
        try:
            while not task.done():
                self._node.wake.clear()
                if self._interrupted:
                    raise _InterruptedError
                if (news := self._fetcher.take_news()) is not None:
                    return news
                await self._node.wake.wait()
        finally:
            if not task.cancel() and not task.cancelled():
                task.exception()  # looked at, even where something else is more important
        fetched = await task
        if self._interrupted:  # in the turn of the event loop in which the fetch ended
            raise _InterruptedError
        return fetched

    @property
    def _interrupted(self) -> bool:
        """Whether a push or the end of the compute makes the present fetch pointless."""
        return self._node.push is not None or self._node.terminating

    async def _fetched(self, news: News | None, *, force: bool) -> ApplyResult:
        self._schedule.answered(to_long_poll=news is None or news.long_polled)
        if news is None:
            return await self._unchanged()
        if news.document is None:
            return self._empty()
        self._schedule.attached()
        result = await self._applier.apply(news.document, source=self._fetcher.name, force=force)
        self._pushes.want_catalog(news.document, result)  # a refresh does not wait for it
        return result

    async def _unchanged(self) -> ApplyResult:
        """There is no news; what is written but not proven may be provable by now."""
        if self._node.written is None or self._node.proven:
            return ApplyResult(outcome=Outcome.UNCHANGED)
        return await self._applier.verify_again()

    async def _fetch_failed(self, error: FetchError | SyntaxSpecError) -> ApplyResult:
        """Count the failure; what is written but not proven is no worse for it."""
        self._schedule.failed(error)
        if not self._interrupted:
            await self._unchanged()
        lasting = isinstance(error, FetchError) and error.lasting
        return ApplyResult(outcome=Outcome.FETCH_FAILED, reason=str(error), lasting=lasting)

    def _empty(self) -> ApplyResult:
        """Believe a detach only when it is said twice, at least the grace period apart."""
        if self._schedule.empty(self._clock.monotonic()):
            self._schedule.attached()
            self._node.detach()
            return ApplyResult(
                outcome=Outcome.EMPTY, reason="the source said twice that it is empty"
            )
        grace = self._settings.deadlines.empty_grace
        reason = f"the source says that this compute is empty; asking again within {grace:g} s"
        return ApplyResult(outcome=Outcome.EMPTY, reason=reason)

    def _leave(self, result: ApplyResult) -> None:
        """Move to where an ended attempt leads, unless something else has moved already."""
        node, now = self._node, self._clock.monotonic()
        if node.terminating or node.push is not None or node.status is Status.EMPTY:
            return
        # An operator has an answer now; Postgres has one when its pages come.
        settled = result.outcome not in UNSETTLED and not node.requests.worker_complains
        if result.outcome is Outcome.APPLIED or settled:
            node.requests.clear_suspicion()
        if result.broken:
            node.move(Event.ATTEMPT_FAILED, result.reason)
        elif self._schedule.wanted(now):
            node.move(Event.RETRY, result.outcome)
        else:
            node.settle(result.outcome)
        self._pushes.proven()

    async def _fall_back_for_start(self, failure: StartFailure) -> None:
        """Have something written that Postgres may start with, unless that has happened since."""
        node, reason = self._node, failure.reason
        node.start_failure = None
        if node.written is not None and node.written.marker != failure.marker:
            return
        node.error = reason
        try:
            if await self._applier.fall_back_for_start(reason):
                return
        except StoreError as error:
            logger.error("%s", error)
        if node.status is Status.INIT:
            node.move(Event.START_FAILED, reason)

    # A push

    async def _configure(self, push: Push) -> None:
        """Apply a pushed document."""
        node, begun = self._node, self._attempts.begin()
        node.move(
            Event.PUSH_STARTED_ONLINE if self._postgres.running else Event.PUSH_STARTED_OFFLINE
        )
        served = node.requests.taken
        with bounded(self._settings.deadlines.apply_total):
            if push.document is None:
                result = await self._applier.roll_back(old_upstream=push.old_upstream)
            else:
                result = await self._applier.apply(push.document, source=PUSH)
        self._attempts.end(begun, result, who=push.who, served=served)
        if node.push is push:
            node.push = None
        push.catalog = self._pushes.want_catalog(push.document, result, force=True)
        fits = result.outcome not in GOOD_OUTCOMES or await self._pushes.catalog_fits(push)
        self._pushes.answer(push, result)
        if not fits:
            return
        if node.terminating or node.push is not None:
            return
        if result.outcome in GOOD_OUTCOMES or result.outcome is Outcome.UNPROVEN:
            self._leave(result)
        else:
            node.move(Event.ATTEMPT_FAILED, result.reason)
