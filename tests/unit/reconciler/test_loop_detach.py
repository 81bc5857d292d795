"""The end of the compute, while the loop is busy with something else."""

import asyncio

import pytest

from compute_ctl.decisions.model import Outcome, RequestOrigin
from compute_ctl.ports import Fetched, FetchStatus
from tests.support.fakes import IdlePostgres
from tests.unit.reconciler.test_loop import LIMIT_S, push, running


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


async def test_a_push_denies_that_the_compute_is_detached() -> None:
    """A first `empty` is forgotten: the next one has to be confirmed anew."""
    async with running(IdlePostgres()) as stage:

        async def fetch(*, etag: str | None = None, wait_s: int | None = None) -> Fetched:
            if wait_s is not None:
                await asyncio.Event().wait()
            return Fetched(status=FetchStatus.EMPTY)

        stage.source.fetch = fetch  # type: ignore[method-assign]  # the source's turn
        for pushes in (0, 1):
            stage.clock.now += 11.0
            stage.node.request_refresh(who="a test", source=RequestOrigin.OPERATOR)
            count = len(stage.observed.attempts)
            async with asyncio.timeout(LIMIT_S):
                while len(stage.observed.attempts) == count:
                    stage.observed.attempted.clear()
                    await stage.observed.attempted.wait()
            if not pushes:
                await stage.ended(push(stage))
        assert [Outcome.EMPTY] == [one.outcome for one in stage.observed.attempts[-1:]]
        assert not stage.node.terminating
