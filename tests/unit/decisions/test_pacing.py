"""The first signal is answered at once; afterwards the source is asked less and less often."""

from dataclasses import replace
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_ctl.decisions.pacing import (
    Due,
    Pacing,
    Why,
    failure_cap,
    first_tick_at,
    long_poll_reopen_s,
    long_poll_wait_s,
    retry_after_until,
    suspect_cap,
    suspicion_over_at,
)

BEFORE_ONE = 1 - 2**-53
"""The largest number that a uniform draw gives."""
QUIET = Pacing(random=0.5, min_interval=0.02, next_tick_at=1000.0)
FETCHED = replace(QUIET, last_fetch_at=90.0, last_end_at=91.0)
SUSPECTED = replace(FETCHED, suspected_since=83.0, last_signal_at=90.5)
"""Fetched in vain 8 s into the trouble: the pause is at most 2 s."""


@pytest.mark.parametrize(
    ("facts", "due"),
    [
        (QUIET, Due(at=1000.0, why=Why.TICK)),
        (replace(QUIET, next_tick_at=inf), Due(at=inf, why=Why.TICK)),
        # first signal: at once, whatever the draw and earlier failures, but not within 20 ms
        (replace(QUIET, suspected_since=95.0), Due(at=95.0, why=Why.FIRST_SIGNAL)),
        (replace(FETCHED, suspected_since=95.0), Due(at=95.0, why=Why.FIRST_SIGNAL)),
        (replace(FETCHED, suspected_since=95.0, failures=9), Due(at=95.0, why=Why.FIRST_SIGNAL)),
        (replace(FETCHED, suspected_since=90.01), Due(at=90.02, why=Why.FIRST_SIGNAL)),
        # the trouble lasts
        (SUSPECTED, Due(at=92.0, why=Why.SUSPICION)),
        (replace(SUSPECTED, random=0.0), Due(at=91.0, why=Why.SUSPICION)),
        (replace(SUSPECTED, suspected_since=90.0), Due(at=91.125, why=Why.SUSPICION)),
        (replace(SUSPECTED, suspected_since=0.0), Due(at=93.5, why=Why.SUSPICION)),
        (replace(SUSPECTED, last_end_at=None), Due(at=90.875, why=Why.SUSPICION)),
        (replace(SUSPECTED, failures=1), Due(at=92.0, why=Why.SUSPICION)),
        (replace(SUSPECTED, suspected_since=90.0, failures=7), Due(at=93.5, why=Why.SUSPICION)),
        (replace(SUSPECTED, last_end_at=90.0, random=0.0), Due(at=90.02, why=Why.SUSPICION)),
        # a long poll is open, and may be dead
        (replace(SUSPECTED, held=True), Due(at=98.5, why=Why.SUSPICION)),
        (replace(SUSPECTED, held=True, random=0.0), Due(at=96.0, why=Why.SUSPICION)),
        (replace(SUSPECTED, held=True, last_signal_at=61.0), Due(at=1000.0, why=Why.TICK)),
        (replace(FETCHED, held=True), Due(at=1000.0, why=Why.TICK)),
        # the source refuses us: slowly, but an operator may try
        (replace(SUSPECTED, failures=1, lasting=True), Due(at=94.75, why=Why.SUSPICION)),
        (
            replace(FETCHED, failures=1, lasting=True, nothing_in_force=True),
            Due(at=94.75, why=Why.NOTHING_IN_FORCE),
        ),
        (
            replace(SUSPECTED, failures=1, lasting=True, operator_at=91.1),
            Due(at=91.1, why=Why.OPERATOR),
        ),
        # nobody has complained for 30 s
        (replace(SUSPECTED, last_signal_at=61.0), Due(at=1000.0, why=Why.TICK)),
        # an operator does not wait for the pause
        (replace(SUSPECTED, operator_at=91.1), Due(at=91.1, why=Why.OPERATOR)),
        (replace(FETCHED, operator_at=90.001), Due(at=90.02, why=Why.OPERATOR)),
        # nothing to run with
        (replace(QUIET, nothing_in_force=True), Due(at=-inf, why=Why.NOTHING_IN_FORCE)),
        (
            replace(FETCHED, nothing_in_force=True, failures=2),
            Due(at=91.1, why=Why.NOTHING_IN_FORCE),
        ),
        (replace(FETCHED, nothing_in_force=True), Due(at=93.5, why=Why.NOTHING_IN_FORCE)),
        # nobody has said a word since the daemon began
        (replace(QUIET, unheard=True), Due(at=1000.0, why=Why.TICK)),
        (replace(FETCHED, unheard=True), Due(at=1000.0, why=Why.TICK)),
        (replace(FETCHED, unheard=True, failures=1), Due(at=91.05, why=Why.START)),
        (replace(FETCHED, unheard=True, failures=99), Due(at=93.5, why=Why.START)),
        (replace(FETCHED, unheard=True, failures=1, lasting=True), Due(at=94.75, why=Why.START)),
        (replace(SUSPECTED, unheard=True, failures=1), Due(at=92.0, why=Why.SUSPICION)),
        # Retry-After
        (replace(SUSPECTED, retry_after_until=120.0), Due(at=120.0, why=Why.SUSPICION)),
        (replace(SUSPECTED, retry_after_until=91.5), Due(at=92.0, why=Why.SUSPICION)),
        (
            replace(SUSPECTED, operator_at=91.1, retry_after_until=120.0),
            Due(at=120.0, why=Why.OPERATOR),
        ),
        (
            replace(FETCHED, suspected_since=95.0, retry_after_until=120.0),
            Due(at=120.0, why=Why.FIRST_SIGNAL),
        ),
        (
            replace(SUSPECTED, forced_at=91.2, retry_after_until=120.0),
            Due(at=91.2, why=Why.FORCED),
        ),
        (replace(FETCHED, forced_at=90.001), Due(at=90.02, why=Why.FORCED)),
        (
            replace(FETCHED, next_tick_at=90.5, retry_after_until=120.0),
            Due(at=120.0, why=Why.TICK),
        ),
    ],
)
def test_due(facts: Pacing, due: Due) -> None:
    """When, and why, for each combination that matters."""
    found = facts.due()

    assert found.at == pytest.approx(due.at)
    assert found.why is due.why


@pytest.mark.parametrize(
    ("age", "cap"), [(0, 0.05), (0.2, 0.05), (0.4, 0.1), (8, 2), (20, 5), (3600, 5)]
)
def test_suspect_cap(age: float, cap: float) -> None:
    """A quarter of the age, from 50 ms to 5 s."""
    assert suspect_cap(age) == pytest.approx(cap)


@pytest.mark.parametrize(
    ("failures", "cap"), [(0, 0), (1, 0.1), (2, 0.2), (3, 0.4), (6, 3.2), (7, 5), (10**9, 5)]
)
def test_failure_cap(failures: int, cap: float) -> None:
    """Doubles from 100 ms to 5 s."""
    assert failure_cap(failures) == pytest.approx(cap)


@pytest.mark.parametrize(
    ("asked", "random", "until"),
    [
        (0, 0, 100),
        (0, 0.5, 100.5),
        (1, 0.5, 101.5),
        (10, 0, 110),
        (10, 0.5, 112.5),
        (3600, 0.5, 175),
        (-5, 0, 100),
    ],
)
def test_retry_after(asked: float, random: float, until: float) -> None:
    """What is asked for, at most a minute, and up to half as much again, at least a second."""
    assert retry_after_until(100, asked, random) == pytest.approx(until)


def test_other_times() -> None:
    """Ticks are spread over the first interval, long polls over 20 to 30 s."""
    assert 35 == suspicion_over_at(5)
    assert [5, 155] == [first_tick_at(5, 300, draw) for draw in (0, 0.5)]
    assert [20, 25, 30] == [long_poll_wait_s(draw) for draw in (0, 0.5, BEFORE_ONE)]
    assert [0, 0.5] == [long_poll_reopen_s(draw) for draw in (0, 0.5)]


TIMES = st.none() | st.floats(0, 1000)


@given(
    st.builds(
        Pacing,
        random=st.floats(0, BEFORE_ONE),
        min_interval=st.just(0.02),
        next_tick_at=st.floats(0, 1000),
        last_fetch_at=TIMES,
        last_end_at=TIMES,
        suspected_since=TIMES,
        last_signal_at=TIMES,
        operator_at=TIMES,
        forced_at=TIMES,
        failures=st.integers(0, 20),
        nothing_in_force=st.booleans(),
        unheard=st.booleans(),
        retry_after_until=TIMES,
    )
)
def test_bounds(facts: Pacing) -> None:
    """Never twice within 20 ms, nor against Retry-After without force, nor later than a tick."""
    due = facts.due()

    if facts.last_fetch_at is not None:
        assert due.at >= facts.last_fetch_at + 0.02
    if facts.retry_after_until is not None and due.why is not Why.FORCED:
        assert due.at >= facts.retry_after_until
    others = [facts.last_fetch_at or 0, facts.retry_after_until or 0]
    assert due.at <= max(facts.next_tick_at, *others) + 0.02


def fetches_until(published: float, draws: Random) -> list[float]:
    """Return the fetch times of one compute whose trouble began at 0, signalled twice a second."""
    facts = replace(QUIET, suspected_since=0.0, last_signal_at=0.0)
    times: list[float] = []
    while not times or times[-1] < published:
        now = facts.due().at
        times.append(now)
        facts = replace(
            facts,
            random=draws.random(),
            last_fetch_at=now,
            last_end_at=now + 0.002,
            last_signal_at=now - now % 0.5,
        )
    return times


def test_late_publication_is_seen_soon() -> None:
    """A list published 2 s late is seen within 200 ms by half of the computes, with few fetches."""
    draws = Random(7)

    runs = [fetches_until(2.0, draws) for _ in range(400)]

    lags = sorted(times[-1] - 2.0 for times in runs)
    assert 0.05 < lags[200] < 0.2
    assert lags[-1] < suspect_cap(2.0)
    assert max(map(len, runs)) < 60


def test_fleet_drifts_apart() -> None:
    """A thousand computes that begin together do not stay together."""
    draws = Random(7)

    moments = [time for _ in range(1000) for time in fetches_until(10.0, draws) if 9 <= time < 10]

    busiest = max(
        sum(1 for t in moments if at / 100 <= t < (at + 1) / 100) for at in range(900, 1000)
    )
    assert busiest < 50
