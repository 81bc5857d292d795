"""What has happened with the source decides when it is asked next."""

import random
from pathlib import Path

import pytest

from compute_ctl.decisions.model import Desired, RequestOrigin, Written
from compute_ctl.decisions.pacing import Why
from compute_ctl.document.generation import Marker
from compute_ctl.errors import FetchError
from compute_ctl.node import Node
from compute_ctl.reconciler.schedule import Schedule
from compute_ctl.settings import Settings
from tests.support.clock import FakeClock
from tests.support.fakes import AbsentPostgres


def made(seed: int = 0) -> tuple[FakeClock, Node, Schedule]:
    """A schedule at its beginning."""
    clock = FakeClock()
    node = Node(clock=clock, postgres=AbsentPostgres())
    settings = Settings(pgdata=Path("/"), connstr="", compute_id="c", attach=True)
    rng = random.Random(seed)
    return clock, node, Schedule(node=node, clock=clock, settings=settings, rng=rng)


def test_of_two_pauses_the_longer_counts() -> None:
    """A fetch and a long poll were both refused: the source is left alone as long as it wanted.

    Another long poll, which it held before, may be answered meanwhile: that ends nothing.
    """
    clock, _, schedule = made()
    for wanted_s in (60, 2):
        schedule.failed(FetchError("429", retry_after_s=wanted_s))

    assert schedule.left_alone() >= 60
    schedule.answered(to_long_poll=True)
    assert schedule.left_alone() >= 60
    clock.now += schedule.left_alone()
    assert 0 == schedule.left_alone()


def test_an_answer_ends_the_pause() -> None:
    """A forced fetch is answered during a pause: the source is well, so the next one is paced."""
    clock, node, schedule = made()
    schedule.failed(FetchError("503", retry_after_s=60))
    clock.now += 1.0
    node.requests.add(clock.now, source=RequestOrigin.OPERATOR, suspicion=None, force=True)
    due = schedule.due(clock.now, held=False)
    assert (clock.now, Why.FORCED) == (due.at, due.why)
    schedule.fetching(clock.now, due.why)
    node.requests.take()
    schedule.answered(to_long_poll=False)
    schedule.attempted(clock.now)

    assert 0 == schedule.left_alone()
    node.requests.add(clock.now, source=RequestOrigin.WORKER, suspicion=None, force=False)
    assert schedule.due(clock.now, held=False).at - clock.now <= 1.0


@pytest.mark.parametrize(("lasting", "slowly"), [(True, True), (False, False)])
@pytest.mark.parametrize("seed", range(5))
def test_a_refusal_that_lasts_is_asked_slowly(lasting: bool, slowly: bool, seed: int) -> None:
    """After a 401 while Postgres suffers seconds pass; after a lost connection at most 0.1 s."""
    clock, node, schedule = made(seed)
    node.requests.add(clock.now, source=RequestOrigin.WORKER, suspicion=None, force=False)
    schedule.fetching(clock.now, Why.FIRST_SIGNAL)
    node.requests.take()
    schedule.failed(FetchError("no", lasting=lasting))
    schedule.attempted(clock.now)

    due = schedule.due(clock.now, held=False)

    assert slowly == (2.5 <= due.at - clock.now <= 5.0)
    schedule.answered(to_long_poll=False)
    assert schedule.due(clock.now, held=False).at - clock.now <= 0.1


@pytest.mark.parametrize(
    ("source", "goes_on"), [(None, True), ("disk", True), ("push", False), ("file", False)]
)
def test_first_answer_is_asked_for_until_there_is_one(source: str | None, goes_on: bool) -> None:
    """With no more than an earlier daemon's document the source is asked within 5 s, not 5 min."""
    clock, node, schedule = made()
    written = Written(
        marker=Marker.of(generation=1, nonce="0" * 32, body=""),
        rest="",
        upstream="",
        at=clock.wall(),
    )
    node.now_written(written)
    if source is not None:
        node.config.desired = Desired(
            content_sha256="", version=None, at=clock.wall(), source=source
        )
    for _ in range(10):
        schedule.fetching(clock.now, Why.OPERATOR)
        schedule.failed(FetchError("dead"))
        schedule.attempted(clock.now)

    assert goes_on == (schedule.due(clock.now, held=False).at - clock.now <= 5.0)
    schedule.answered(to_long_poll=False)
    schedule.failed(FetchError("dead again"))
    assert schedule.due(clock.now, held=False).why is Why.TICK
