"""A document that was refused, until the source has another."""

import asyncio

from compute_ctl.decisions.model import Outcome
from compute_ctl.ports import Fetched, FetchStatus
from tests.support.fakes import IdlePostgres
from tests.unit.reconciler.test_loop import LIMIT_S, answer, ended_with, held, running


async def test_a_long_poll_without_news_leaves_a_refusal() -> None:
    """That nothing is new does not make the newest document a good one."""
    async with running(IdlePostgres()) as stage:
        await held(stage, long_poll=True)
        stage.source.hold_fetches = True
        stage.source.polled.clear()
        assert stage.source.answer is not None
        stage.source.answer.set_result(
            Fetched(status=FetchStatus.ATTACHED, raw=b'{"spec": 1}', etag="2", long_polled=True)
        )
        await ended_with(stage, Outcome.REJECTED)
        refused = stage.observed.attempts[-1]
        await asyncio.wait_for(stage.source.polled.wait(), LIMIT_S)

        stage.observed.attempted.clear()
        answer(stage, FetchStatus.NOT_MODIFIED)
        await asyncio.wait_for(stage.observed.attempted.wait(), LIMIT_S)

        last = stage.observed.attempts[-1]
        assert refused.number + 1 == last.number
        assert (Outcome.REJECTED, refused.reason) == (last.outcome, last.reason)
