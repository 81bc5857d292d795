"""A push or a termination that meets the end of a fetch or a long poll, in every order.

Two events of one turn of the event loop reach the reconciler together; so each test moves one of
them a few turns before and after the other.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from compute_common.errors import RequestError
from compute_ctl.decisions.model import PUSH, Attempt, Outcome, RequestOrigin
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.errors import FetchError
from compute_ctl.node import Node
from compute_ctl.node.observer import Observer
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.reconciler import Reconciler
from compute_ctl.reconciler.attempts import Attempts
from compute_ctl.reconciler.fetcher import Fetcher
from compute_ctl.reconciler.pushes import Pushes
from compute_ctl.reconciler.schedule import Schedule
from compute_ctl.settings import Settings
from tests.support.clock import FakeClock
from tests.support.fakes import AbsentPostgres, IdlePostgres
from tests.unit.reconciler.fakes import (
    GoodApplier,
    NoCandidates,
    NoDrift,
    NoPromoter,
    NoRecovery,
    StartFallbackStub,
)
from tests.unit.reconciler.test_fetcher import DOCUMENT

TURNS = range(-3, 4)
"""Of the event loop, from the end of the fetch to the other event."""
LIMIT_S = 5.0


class HeldSource:
    """A source that answers when it is told to; the first time at once."""

    name = "held"

    def __init__(self) -> None:
        self.polled, self.fetched = asyncio.Event(), asyncio.Event()
        self.answer: asyncio.Future[Fetched] | None = None
        self.hold_fetches = False

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Answer at once, or when `answer` is set."""
        if wait_s is None and not self.hold_fetches:
            return Fetched(status=FetchStatus.ATTACHED, raw=DOCUMENT, etag="1")
        self.answer = asyncio.get_running_loop().create_future()
        (self.fetched if wait_s is None else self.polled).set()
        return await self.answer


class Observed(Observer):
    """What is not allowed, and how attempts ended."""

    def __init__(self) -> None:
        self.illegal: list[tuple[Status, Event]] = []
        self.attempts: list[Attempt] = []
        self.attempted = asyncio.Event()

    def on_illegal_event(self, status: Status, event: Event) -> None:
        """Keep a dropped event."""
        self.illegal.append((status, event))

    def on_attempt(self, attempt: Attempt) -> None:
        """Keep an attempt."""
        self.attempts.append(attempt)
        self.attempted.set()


class Running:
    """A reconciler that runs, suspects its servers, and has a document."""

    def __init__(self, postgres: AbsentPostgres) -> None:
        self.source, self.applier, self.observed = HeldSource(), GoodApplier(), Observed()
        self.recovery, self.start_fallback = NoRecovery(), StartFallbackStub()
        self.drift, self.candidates, self.clock = NoDrift(), NoCandidates(), FakeClock()
        self.node = Node(clock=self.clock, postgres=postgres)
        self.node.subscribe(self.observed)
        rng = random.Random(0)
        rng.random = lambda: 0.0  # type: ignore[method-assign]  # no pause before a long poll
        settings = Settings(pgdata=Path("/"), connstr="", compute_id="c", attach=True)
        schedule = Schedule(node=self.node, clock=self.clock, settings=settings, rng=rng)
        self.reconciler = Reconciler(
            fetcher=Fetcher(self.source),
            applier=self.applier,  # type: ignore[arg-type]  # of it what the loop calls
            candidates=self.candidates,  # type: ignore[arg-type]  # of it what the loop calls
            drift=self.drift,  # type: ignore[arg-type]  # of it what the loop calls
            recovery=self.recovery,  # type: ignore[arg-type]  # of it what the loop calls
            start_fallback=self.start_fallback,  # type: ignore[arg-type]  # of it what the loop calls
            promoter=NoPromoter(),  # type: ignore[arg-type]  # of it what the loop calls
            pushes=Pushes(node=self.node, catalog=None),
            attempts=Attempts(node=self.node, clock=self.clock, schedule=schedule, catalog=None),
            schedule=schedule,
            postgres=postgres,
            settings=settings,
            rng=rng,
            node=self.node,
            clock=self.clock,
        )
        self.task = asyncio.create_task(self.reconciler.run())

    def complain(self) -> None:
        """Say that a server is gone, as Postgres does."""
        self.node.request_refresh(who="postgres", source=RequestOrigin.WORKER)

    async def ended(self, work: asyncio.Task[None]) -> None:
        """Wait for the end of *work*, or that of the reconciler."""
        done, _ = await asyncio.wait(
            {work, self.task}, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED
        )
        assert done


@asynccontextmanager
async def running(postgres: AbsentPostgres) -> AsyncIterator[Running]:
    """Run a reconciler until its first document is in force."""
    stage = Running(postgres)
    if postgres.ready:
        stage.node.postgres_ready()
    try:
        await asyncio.wait_for(stage.node.attempts.first_ended.wait(), LIMIT_S)
        yield stage
    finally:
        stage.task.cancel()
        await asyncio.wait({stage.task})


async def together(turns: int, end: Callable[[], None], other: Callable[[], None]) -> None:
    """Call both: *other* so many turns of the loop after *end*, or before it."""
    first, second = (end, other) if turns >= 0 else (other, end)
    first()
    for _ in range(abs(turns)):
        await asyncio.sleep(0)
    second()


def push(stage: Running) -> asyncio.Task[None]:
    """Push the document; the task ends with the answer."""
    return asyncio.create_task(stage.node.pushes.configure(DOCUMENT, who="a test"))


def answer(stage: Running, status: FetchStatus | None) -> None:
    """Let the source answer what it holds; None: it fails."""
    held = stage.source.answer
    if held is None or held.done():
        return  # the other event came first
    if status is None:
        held.set_exception(FetchError("gone", retry_after_s=60.0))
    else:
        held.set_result(Fetched(status=status, raw=DOCUMENT, etag="2", long_polled=True))


STATUSES = [FetchStatus.ATTACHED, FetchStatus.NOT_MODIFIED, FetchStatus.EMPTY, None]


@pytest.mark.parametrize("long_poll", [True, False])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("turns", TURNS)
async def test_push_meets_the_end_of_a_fetch(
    turns: int, status: FetchStatus | None, long_poll: bool
) -> None:
    """It is applied and answered; the daemon goes on."""
    async with running(IdlePostgres()) as stage:
        await held(stage, long_poll=long_poll)
        pushes: list[asyncio.Task[None]] = []

        await together(turns, lambda: answer(stage, status), lambda: pushes.append(push(stage)))
        await stage.ended(pushes[0])

        assert not stage.task.done() or stage.task.exception() is None
        assert (True, None) == (pushes[0].done(), pushes[0].exception())
        assert PUSH in stage.applier.sources
        assert [] == stage.observed.illegal


@pytest.mark.parametrize("long_poll", [True, False])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("turns", TURNS)
async def test_termination_meets_the_end_of_a_fetch(
    turns: int, status: FetchStatus | None, long_poll: bool
) -> None:
    """The reconciler ends in order."""
    async with running(IdlePostgres()) as stage:
        await held(stage, long_poll=long_poll)

        await together(
            turns,
            lambda: answer(stage, status),
            lambda: stage.node.terminate("fast", who="a test"),
        )
        await asyncio.wait({stage.task}, timeout=LIMIT_S)

        assert (True, None) == (stage.task.done(), stage.task.done() and stage.task.exception())
        assert Status.TERMINATION_PENDING_FAST is stage.node.status
        assert [] == stage.observed.illegal


@pytest.mark.parametrize("turns", TURNS)
async def test_push_meets_a_confirmed_detach(turns: int) -> None:
    """Without a server the second `empty` ends the attempt, not the push and not the daemon."""
    async with running(AbsentPostgres()) as stage:
        for _ in range(2):
            stage.clock.now += 11.0
            await held(stage, long_poll=False)
            if stage.observed.attempts[-1].outcome is Outcome.EMPTY:
                break
            answer(stage, FetchStatus.EMPTY)
            await ended_with(stage, Outcome.EMPTY)
        pushes: list[asyncio.Task[None]] = []

        await together(
            turns,
            lambda: answer(stage, FetchStatus.EMPTY),
            lambda: pushes.append(push(stage)),
        )
        await stage.ended(pushes[0])

        assert not stage.task.done()
        assert (True, None) == (pushes[0].done(), pushes[0].exception())
        assert [] == stage.observed.illegal


async def held(stage: Running, *, long_poll: bool) -> None:
    """Wait until the source holds a request: a long poll, or a plain fetch."""
    source = stage.source
    if not long_poll:
        source.hold_fetches = True
    stage.clock.now += 1.0
    event = source.polled if long_poll else source.fetched
    event.clear()
    stage.complain()
    await asyncio.wait_for(event.wait(), LIMIT_S)


async def ended_with(stage: Running, outcome: Outcome) -> None:
    """Wait for the end of an attempt with *outcome*."""
    async with asyncio.timeout(LIMIT_S):
        while stage.observed.attempts[-1].outcome is not outcome:
            stage.observed.attempted.clear()
            await stage.observed.attempted.wait()


async def test_an_illegal_event_is_dropped() -> None:
    """It is told, changes nothing, and raises nothing."""
    node, observed = Node(clock=FakeClock(), postgres=AbsentPostgres()), Observed()
    node.subscribe(observed)

    node.move(Event.FETCH_STARTED)

    assert (Status.EMPTY, [(Status.EMPTY, Event.FETCH_STARTED)]) == (node.status, observed.illegal)
    with suppress(RequestError):
        node.terminate("fast", who="a test")
    assert Status.TERMINATED is node.status


async def test_a_failed_start_is_handed_over_once() -> None:
    """So is a start that is seen: each is taken from the node by one turn."""
    async with running(IdlePostgres()) as stage:
        stage.recovery.noted.clear()

        stage.node.start_failed("no", None)
        stage.node.postgres_ready()
        await asyncio.wait_for(stage.recovery.noted.wait(), LIMIT_S)

        assert ["no"] == [failure.reason for failure in stage.start_fallback.failures]
        assert (None, False) == (stage.node.start.failure, stage.node.start.ready_seen)


async def test_push_meets_the_end_of_a_drift_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The push comes while the check's result is saved and a fetch is due: it goes first."""
    async with running(IdlePostgres()) as stage:
        pushed: list[asyncio.Task[None]] = []

        async def finish() -> None:
            stage.drift.ended = False
            pushed.append(push(stage))
            while stage.node.pushes.current is None:  # noqa: ASYNC110 (turns of the loop are what is waited for)
                await asyncio.sleep(0)

        monkeypatch.setattr(stage.drift, "finish", finish)
        stage.drift.ended, stage.clock.now = True, stage.clock.now + 10.0
        stage.node.request_refresh(who="a test", source=RequestOrigin.OPERATOR)
        async with asyncio.timeout(LIMIT_S):
            while not pushed:  # noqa: ASYNC110 (as above)
                await asyncio.sleep(0)
        await stage.ended(pushed[0])

        assert [] == stage.observed.illegal
