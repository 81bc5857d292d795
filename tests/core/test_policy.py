"""The policy on a virtual clock: when requests are sent."""

from itertools import pairwise

import pytest

from pg_hook import Policy
from pg_hook.suspicion import NEVER
from tests.core.policy import (
    BURST,
    EARLY,
    GAP,
    HEAL,
    MS,
    PAGESERVER,
    PRIMARY,
    RETRY_MAX,
    RETRY_MIN,
    SECOND,
    START,
    outage,
    send,
)


def test_first_event_sends_at_once() -> None:
    """Nothing is due without suspicion; the first event is, without delay."""
    policy = Policy(seed=1)
    assert not policy.due(START)
    assert NEVER == policy.wait_us(START)
    policy.event(PAGESERVER, START, shard=3)
    assert 0 == policy.wait_us(START)
    assert 1 == send(policy, START)


def test_events_share_the_next_request() -> None:
    """What comes in flight and while waiting is one request, and is counted."""
    policy = Policy(seed=1)
    policy.event(PAGESERVER, START, shard=0)
    policy.sent(START)
    for at in range(200):
        policy.event(PAGESERVER, START + at, shard=at % 8)
    assert not policy.due(START + 10 * SECOND)  # one is in flight, however long
    policy.finished(START + 10 * SECOND)
    policy.event(PAGESERVER, START + 10 * SECOND, shard=1)
    now = START + 10 * SECOND + policy.wait_us(START + 10 * SECOND)
    assert 201 == policy.sent(now)
    assert 200 == policy.coalesced_total


@pytest.mark.parametrize("seed", range(50))
def test_herd_in_the_first_ten_seconds(seed: int) -> None:
    """200 backends on 8 shards that fail all the time cause at most a dozen requests in 10 s."""
    sent = outage(Policy(seed=seed), seconds=10, every=20 * MS, shards=8)
    assert 0 == sent[0]
    assert 2 <= len(sent) <= BURST


@pytest.mark.parametrize("seed", range(10))
def test_dozen_holds_whatever_the_dice_say(seed: int) -> None:
    """With a retry_min of 1 ms the jitter alone would allow far more; the dozen holds."""
    sent = outage(Policy(seed=seed, retry_min_us=MS), seconds=9, every=MS)
    assert BURST == len(sent)


@pytest.mark.parametrize("seed", range(20))
def test_lasting_outage(seed: int) -> None:
    """In five minutes, no gap is shorter than retry_min or longer than retry_max and a burst."""
    sent = outage(Policy(seed=seed), seconds=300, every=SECOND)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert min(gaps) >= RETRY_MIN
    assert max(gaps) <= 2 * RETRY_MAX + MS
    assert len(sent) > 300 / (2 * RETRY_MAX / SECOND)
    windows = [sent[i + BURST] - sent[i] for i in range(len(sent) - BURST)]
    assert min(windows) >= 2 * RETRY_MAX


def test_seeds_differ() -> None:
    """Two computes that fail together do not ask together."""
    first, second = (outage(Policy(seed=seed), seconds=60, every=SECOND) for seed in (1, 2))
    assert first[:1] == second[:1]
    assert len(set(first) & set(second)) < 4


def test_useful_answer_ends_it() -> None:
    """After the last suspected shard answers nothing more is sent, until there is new trouble."""
    policy = Policy(seed=1)
    policy.event(PAGESERVER, START, shard=0)
    policy.event(PAGESERVER, START, shard=1)
    send(policy, START)
    policy.end(PAGESERVER, START, shard=0)
    assert policy.suspects
    policy.end(PAGESERVER, START, shard=1)
    assert not policy.suspects
    assert NEVER == policy.wait_us(START + 1)
    assert not policy.due(START + 60 * SECOND)
    policy.event(PAGESERVER, START + GAP, shard=1)
    assert policy.due(START + GAP)


def partial_failure(policy: Policy, *, seconds: int, every: int) -> list[int]:
    """One session fails every so often, and another is served 1 ms later each time."""
    sent = []
    for now in range(START, START + seconds * SECOND, every):
        policy.event(PAGESERVER, now, shard=0)
        if policy.due(now):
            policy.sent(now)
            sent.append(now - START)
            policy.finished(now + MS)
        policy.end(PAGESERVER, now + MS, shard=0)
    return sent


@pytest.mark.parametrize("every", [5 * MS, 20 * MS, 300 * MS])
@pytest.mark.parametrize("seed", range(5))
def test_success_of_others_forgets_nothing(seed: int, every: int) -> None:
    """Where some are served and some are not, the bounds are those of an outage of all."""
    sent = partial_failure(Policy(seed=seed), seconds=30, every=every)
    assert 0 == sent[0]
    assert 4 <= len([at for at in sent if at < GAP]) <= BURST
    assert all(later - earlier >= GAP for earlier, later in zip(sent, sent[BURST:], strict=False))
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert min(gaps) >= RETRY_MIN
    assert max(gaps) <= RETRY_MAX + every + MS  # it is asked as long as somebody fails


def test_a_healthy_gap_forgets_the_pace() -> None:
    """Trouble within 2 * retry_max of its end goes on at its pace; later it is new."""
    for quiet, expected in ((GAP - 1, False), (GAP, True)):
        policy = Policy(seed=3)
        last = START + outage(policy, seconds=20, every=20 * MS)[-1]
        end = last + MS
        policy.end(PAGESERVER, end, shard=0)
        policy.event(PAGESERVER, end + quiet, shard=0)
        now = end + quiet + policy.wait_us(end + quiet)
        send(policy, now)
        policy.event(PAGESERVER, now + 2 * MS, shard=0)
        # the second request of an outage comes after retry_min, with a little jitter
        assert (policy.wait_us(now + MS) <= 2 * RETRY_MIN) == expected


@pytest.mark.parametrize("seed", range(8))
def test_new_trouble_does_not_wait_behind_old(seed: int) -> None:
    """A minute into the outage of a shard, the first failure of another is asked about at once."""
    policy = Policy(seed=seed)
    outage(policy, seconds=60, every=20 * MS)
    now = START + 60 * SECOND
    policy.event(PAGESERVER, now, shard=1)
    assert policy.due(now)
    policy.sent(now)
    policy.event(PAGESERVER, now + MS, shard=2)  # while that is in flight
    policy.finished(now + 2 * MS)
    assert HEAL - 2 * MS == policy.wait_us(now + 2 * MS)  # what that brings may end it
    now += HEAL
    send(policy, now)
    policy.event(PRIMARY, now + 4 * MS)
    assert HEAL - 4 * MS == policy.wait_us(now + 4 * MS)


def test_what_a_request_brings_needs_no_second_one() -> None:
    """Two shards on one dead pageserver: the second fails while the request for both is out."""
    policy = Policy(seed=1)
    policy.event(PAGESERVER, START, shard=0)
    policy.sent(START)
    policy.event(PAGESERVER, START + 100, shard=1)
    policy.finished(START + MS)
    for shard in (0, 1):
        policy.renewed(shard, START + 6 * MS)
    assert NEVER == policy.wait_us(START + 6 * MS)


def test_an_outage_right_after_a_heal_is_new() -> None:
    """A new endpoint that fails at once is asked about at once; the burst is counted anew."""
    policy, now = Policy(seed=1), START
    for turn in range(40):
        policy.event(PAGESERVER, now, shard=0)
        # only a storm of them is held up, to retry_min on average
        wait = policy.wait_us(now)
        assert wait <= (HEAL if turn < EARLY else EARLY * RETRY_MIN)
        now += wait
        send(policy, now)
        policy.renewed(0, now + 6 * MS)
        assert not policy.suspects
        now += 8 * MS
    assert now - START >= (40 - EARLY) * RETRY_MIN


def test_new_shards_share_the_burst() -> None:
    """However many shards fail one after another, a dozen requests is all."""
    policy = Policy(seed=1)
    sent = 0
    for shard in range(100):
        now = START + shard * 90 * MS
        policy.event(PAGESERVER, now, shard=shard)
        if policy.due(now):
            send(policy, now)
            sent += 1
    assert BURST == sent


def test_a_shorter_retry_max_is_heeded() -> None:
    """A pace drawn from a longer retry_max does not outlast a reload that shortens it."""
    policy = Policy(seed=1)
    outage(policy, seconds=60, every=20 * MS)
    policy.end(PAGESERVER, START + 60 * SECOND, shard=0)
    policy.retry_max_us = 100 * MS
    policy.event(PAGESERVER, START + 60 * SECOND, shard=0)
    assert policy.wait_us(START + 60 * SECOND) <= 200 * MS


def test_ask_goes_past_the_jitter() -> None:
    """An operator's wish waits for retry_min at most, and needs no suspicion."""
    policy = Policy(seed=1)
    policy.ask(START)
    assert 1 == send(policy, START)
    assert NEVER == policy.wait_us(START + MS)
    for turn in range(1, 9):  # far into the backoff
        policy.event(PAGESERVER, START + turn * 10 * SECOND, shard=0)
        send(policy, START + turn * 10 * SECOND)
    now = START + 80 * SECOND + RETRY_MIN
    policy.ask(now)
    assert policy.due(now)


def test_ask_in_flight_is_not_lost() -> None:
    """A wish during a request gets a request of its own."""
    policy = Policy(seed=1)
    policy.ask(START)
    policy.sent(START)
    policy.ask(START + 1)
    policy.finished(START + SECOND)
    assert policy.due(START + SECOND)
