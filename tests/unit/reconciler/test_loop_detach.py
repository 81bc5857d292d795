"""The end of the compute, while the loop is busy with something else."""

import asyncio
from collections.abc import Callable

import pytest

from compute_ctl.decisions.model import Outcome, RequestOrigin
from compute_ctl.ports import Fetched, FetchStatus
from tests.support.fakes import IdlePostgres
from tests.unit.node.test_reload_reports import generation
from tests.unit.reconciler.test_loop import LIMIT_S, Running, answer, held, push, running


async def test_termination_while_a_start_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while that is saved and a fetch is due: no fetch begins."""
    async with running(IdlePostgres()) as stage:

        async def note_start() -> None:
            stage.node.terminate("fast", who="a test")

        monkeypatch.setattr(stage.recovery, "note_start", note_start)
        stage.clock.now += 10.0
        stage.node.request_refresh(who="a test", source=RequestOrigin.OPERATOR)
        stage.node.postgres_ready()
        await asyncio.wait({stage.task}, timeout=LIMIT_S)

        assert stage.task.done()
        assert [] == stage.observed.illegal


EMPTY = Fetched(status=FetchStatus.EMPTY)
BROKEN = Fetched(status=FetchStatus.ATTACHED, raw=b'{"spec": 1}')


async def asked(stage: Running, fetched: Fetched) -> Outcome:
    """Ask once more, after the grace period, and have *fetched*; return how that ended."""

    async def fetch(*, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        if wait_s is not None:
            await asyncio.Event().wait()
        return fetched

    stage.source.fetch = fetch  # type: ignore[method-assign]  # the source's turn
    stage.clock.now += 11.0
    return await attempt(
        stage,
        lambda: stage.node.request_refresh(who="a test", source=RequestOrigin.OPERATOR),
    )


async def attempt(stage: Running, begin: Callable[[], object]) -> Outcome:
    """Make something happen that leads to an attempt; return how that ended."""
    count = len(stage.observed.attempts)
    begin()
    async with asyncio.timeout(LIMIT_S):
        while len(stage.observed.attempts) == count:
            stage.observed.attempted.clear()
            await stage.observed.attempted.wait()
    return stage.observed.attempts[-1].outcome


async def test_a_second_empty_answer_confirms_that_it_is_detached() -> None:
    """It is given after the grace period, with nothing between."""
    async with running(IdlePostgres()) as stage:
        assert [Outcome.EMPTY] * 2 == [await asked(stage, EMPTY) for _ in range(2)]
        assert stage.node.terminating


async def test_a_push_denies_that_the_compute_is_detached() -> None:
    """A first `empty` is forgotten: the next one has to be confirmed anew."""
    async with running(IdlePostgres()) as stage:
        assert Outcome.EMPTY == await asked(stage, EMPTY)
        await stage.ended(push(stage))
        assert Outcome.EMPTY == await asked(stage, EMPTY)
        assert not stage.node.terminating


async def test_a_broken_document_denies_that_the_compute_is_detached() -> None:
    """A source that has a document for the compute, good or not, has not given it up."""
    async with running(IdlePostgres()) as stage:
        outcomes = [await asked(stage, one) for one in (EMPTY, BROKEN, EMPTY)]
        assert [Outcome.EMPTY, Outcome.REJECTED, Outcome.EMPTY] == outcomes
        assert not stage.node.terminating


async def test_a_long_poll_does_not_confirm_that_the_compute_is_detached() -> None:
    """When it was answered is not known: perhaps within the grace period."""
    async with running(IdlePostgres()) as stage:
        await held(stage, long_poll=True)
        assert Outcome.EMPTY == await asked(stage, EMPTY)
        stage.clock.now += 11.0
        await attempt(stage, lambda: answer(stage, FetchStatus.EMPTY))
        assert not stage.node.terminating


@pytest.mark.parametrize("fetched", [EMPTY, BROKEN])
async def test_what_an_earlier_daemon_wrote_is_proven_whatever_the_source_says(
    fetched: Fetched,
) -> None:
    """Its file may be in force by now, though the source has nothing that is taken."""
    async with running(IdlePostgres()) as stage:
        stage.node.now_written(generation(1))
        await asked(stage, fetched)
        assert 1 == stage.applier.verified
