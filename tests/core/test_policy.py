"""The policy on a virtual clock: fixed stories, then random ones against a model."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pg_hook import Policy, Source
from pg_hook.suspicion import NEVER

MS, SECOND = 1000, 1_000_000
RETRY_MIN, RETRY_MAX, QUIET, BURST, EARLY = 50 * MS, 5 * SECOND, 30 * SECOND, 12, 4
HEAL = 10 * MS
GAP = 2 * RETRY_MAX
"""A healthy time shorter than this is a pause within the same trouble."""
START = 1000 * SECOND
PAGESERVER, SAFEKEEPER, PRIMARY = Source


def send(policy: Policy, now: int, *, takes: int = MS) -> int:
    """Send what is due and let it end; return the events it stood for."""
    assert policy.due(now)
    events = policy.sent(now)
    policy.finished(now + takes)
    return events


def outage(policy: Policy, *, seconds: int, every: int, shards: int = 1) -> list[int]:
    """Report all shards every so often; return when requests went out, from the start."""
    sent = []
    now, next_event = START, START
    while now < START + seconds * SECOND:
        if now >= next_event:
            for shard in range(shards):
                policy.event(PAGESERVER, now, shard=shard)
            next_event += every
        if policy.due(now):
            policy.sent(now)
            sent.append(now - START)
            policy.finished(now + MS)
        now = min(next_event, now + max(policy.wait_us(now), 1))
    return sent


def test_first_event_sends_at_once() -> None:
    """Nothing is due without suspicion; the first event is, without delay."""
    policy = Policy(seed=1)
    assert not policy.due(START)
    assert policy.wait_us(START) == NEVER
    policy.event(PAGESERVER, START, shard=3)
    assert policy.wait_us(START) == 0
    assert send(policy, START) == 1


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
    assert policy.sent(now) == 201
    assert policy.coalesced_total == 200


@pytest.mark.parametrize("seed", range(50))
def test_herd_in_the_first_ten_seconds(seed: int) -> None:
    """200 backends on 8 shards that fail all the time cause at most a dozen requests in 10 s."""
    sent = outage(Policy(seed=seed), seconds=10, every=20 * MS, shards=8)
    assert sent[0] == 0
    assert 2 <= len(sent) <= BURST


@pytest.mark.parametrize("seed", range(10))
def test_dozen_holds_whatever_the_dice_say(seed: int) -> None:
    """With a retry_min of 1 ms the jitter alone would allow far more; the dozen holds."""
    sent = outage(Policy(seed=seed, retry_min_us=MS), seconds=9, every=MS)
    assert len(sent) == BURST


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
    assert policy.wait_us(START + 1) == NEVER
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
    assert sent[0] == 0
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
    assert policy.wait_us(now + 2 * MS) == HEAL - 2 * MS  # what that brings may end it
    now += HEAL
    send(policy, now)
    policy.event(PRIMARY, now + 4 * MS)
    assert policy.wait_us(now + 4 * MS) == HEAL - 4 * MS


def test_what_a_request_brings_needs_no_second_one() -> None:
    """Two shards on one dead pageserver: the second fails while the request for both is out."""
    policy = Policy(seed=1)
    policy.event(PAGESERVER, START, shard=0)
    policy.sent(START)
    policy.event(PAGESERVER, START + 100, shard=1)
    policy.finished(START + MS)
    for shard in (0, 1):
        policy.renewed(shard, START + 6 * MS)
    assert policy.wait_us(START + 6 * MS) == NEVER


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
    assert sent == BURST


def test_a_shorter_retry_max_is_heeded() -> None:
    """A pace drawn from a longer retry_max does not outlast a reload that shortens it."""
    policy = Policy(seed=1)
    outage(policy, seconds=60, every=20 * MS)
    policy.end(PAGESERVER, START + 60 * SECOND, shard=0)
    policy.retry_max_us = 100 * MS
    policy.event(PAGESERVER, START + 60 * SECOND, shard=0)
    assert policy.wait_us(START + 60 * SECOND) <= 200 * MS


def test_whole_source_ends() -> None:
    """Without a shard, the end is that of every shard of the source, and of no other source."""
    policy = Policy(seed=1)
    for shard in (-1, 0, 127, 128):
        policy.event(PAGESERVER, START, shard=shard)
    policy.event(PRIMARY, START)
    policy.end(PAGESERVER, START)
    assert policy.suspects
    policy.end(PRIMARY, START)
    assert not policy.suspects


@pytest.mark.parametrize("source", [SAFEKEEPER, PRIMARY])
def test_reported_source_ends_by_silence(source: Source) -> None:
    """30 s without a report end the suspicion of what only others report."""
    policy = Policy(seed=1)
    policy.event(source, START)
    send(policy, START)
    policy.due(START + QUIET - 1)
    assert policy.suspects
    assert not policy.due(START + QUIET)
    assert not policy.suspects


def test_own_suffering_does_not_end_by_silence() -> None:
    """A blocked page request may be silent for long; a report beside it changes nothing."""
    policy = Policy(seed=1)
    policy.event(PAGESERVER, START, shard=0)
    policy.event(PAGESERVER, START + 1, shard=0, reported=True)
    policy.event(PAGESERVER, START, shard=1, reported=True)
    policy.due(START + 100 * SECOND)
    policy.end(PAGESERVER, START + 100 * SECOND, shard=1)
    assert policy.suspects


def test_own_suffering_may_end_by_silence() -> None:
    """With own_quiet set, a shard that nobody waits for any more is forgotten."""
    policy = Policy(seed=1, own_quiet_us=SECOND)
    policy.event(PAGESERVER, START, shard=0)
    assert not policy.due(START + SECOND)
    assert not policy.suspects


def test_ask_goes_past_the_jitter() -> None:
    """An operator's wish waits for retry_min at most, and needs no suspicion."""
    policy = Policy(seed=1)
    policy.ask(START)
    assert send(policy, START) == 1
    assert policy.wait_us(START + MS) == NEVER
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


Key = tuple[Source, int]


@dataclass
class Model:
    """What must hold, kept apart from how the policy does it."""

    suspected: dict[Key, tuple[int, bool]] = field(default_factory=dict)
    ended: dict[Key, int] = field(default_factory=dict)
    """When a suspicion ended without a new endpoint."""
    in_flight: bool = False
    fresh: bool = False
    """Something new is suspected, and nothing was sent since."""
    sent: list[int] = field(default_factory=list)
    counted_from: int = 0
    """What was sent before is not in the burst."""

    def drop(self, keys: Iterable[Key], now: int) -> None:
        """End suspicions."""
        for key in list(keys):
            del self.suspected[key]
            self.ended[key] = now
        self.settle()

    def settle(self) -> None:
        """Nothing is new where nothing is suspected."""
        if not self.suspected:
            self.fresh = False

    def expire(self, now: int) -> None:
        """Forget what only others reported, and not for long."""
        quiet = [
            key
            for key, (seen, reported) in self.suspected.items()
            if reported and now - seen >= QUIET
        ]
        self.drop(quiet, now)

    def event(self, source: Source, shard: int, reported: bool, now: int) -> None:
        """Suspect; our own suffering stays our own."""
        self.expire(now)
        key = (source, shard)
        calm = [now - ended >= GAP for ended in self.ended.values()]
        if not self.suspected and all(calm):
            self.counted_from = now
        if key not in self.suspected and now - self.ended.get(key, -GAP) >= GAP:
            self.fresh = True
        own_before = not self.suspected.get(key, (0, True))[1]
        self.suspected[key] = (now, (reported or shard < 0) and not own_before)

    def end(self, source: Source, shard: int, now: int) -> None:
        """Forget a shard, or with -1 the whole source."""
        self.drop(
            [key for key in self.suspected if key[0] == source and (key[1] == shard or shard < 0)],
            now,
        )

    def renewed(self, shard: int, now: int) -> None:
        """Forget a shard for good."""
        if self.suspected.pop((PAGESERVER, shard), None) is not None:
            self.counted_from = now
        self.ended.pop((PAGESERVER, shard), None)
        self.settle()

    def limits(self, now: int) -> bool:
        """Whether the limits that hold for all would let a new request out."""
        early = not self.sent or now - self.sent[-1] >= HEAL
        early = early and (len(self.sent) < EARLY or now - self.sent[-EARLY] >= EARLY * RETRY_MIN)
        counted = [at for at in self.sent if at >= self.counted_from]
        return early and (len(counted) < BURST or now - counted[-BURST] >= GAP)


STEPS = st.one_of(
    st.tuples(
        st.just("event"),
        st.sampled_from([(PAGESERVER, 0), (PAGESERVER, 1), (SAFEKEEPER, -1), (PRIMARY, -1)]),
        st.booleans(),
    ),
    st.tuples(st.just("end"), st.sampled_from([(PAGESERVER, 0), (PAGESERVER, -1), (PRIMARY, -1)])),
    st.tuples(st.just("renewed"), st.integers(0, 1)),
    st.tuples(st.just("sleep"), st.integers(0, 40 * SECOND)),
    st.tuples(st.just("sleep"), st.integers(0, 100 * MS)),
    st.tuples(st.just("wait")),
    st.tuples(st.just("finish")),
)
Step = tuple[Literal["event", "end", "renewed", "sleep", "wait", "finish"], object, object]


def step_both(policy: Policy, model: Model, step: Step, now: int) -> int:
    """Do a step to the policy and to the model; return the time after it."""
    match step:
        case ("event", (Source() as source, int(shard)), reported):
            policy.event(source, now, shard=shard, reported=bool(reported))
            model.event(source, shard, bool(reported), now)
        case ("end", (Source() as source, int(shard))):
            policy.end(source, now, shard=shard)
            model.end(source, shard, now)
        case ("renewed", int(shard)):
            policy.renewed(shard, now)
            model.renewed(shard, now)
        case ("sleep", int(microseconds)):
            now += microseconds
        case ("wait",):
            wait = policy.wait_us(now)
            assert wait == NEVER or wait <= GAP
            now += wait if wait != NEVER else 0
        case _ if model.in_flight:
            policy.finished(now)
            model.in_flight = False
        case _:
            pass
    return now


@settings(max_examples=300)
@given(steps=st.lists(STEPS, max_size=120), seed=st.integers(0, 2**64 - 1))
def test_any_story(steps: list[Step], seed: int) -> None:
    """After every step: who is suspected is the model's; what goes out respects every limit."""
    policy, model, now = Policy(seed=seed), Model(), START
    for step in steps:
        now = step_both(policy, model, step, now)
        due = policy.due(now)
        model.expire(now)
        assert policy.suspects == bool(model.suspected)
        assert due == (policy.wait_us(now) == 0 and bool(model.suspected) and not model.in_flight)
        if model.fresh and not model.in_flight and model.limits(now):
            assert due  # new trouble waits for nothing else
        if due:
            assert model.limits(now)
            assert model.fresh or not model.sent or now - model.sent[-1] >= RETRY_MIN
            policy.sent(now)
            model.in_flight, model.fresh = True, False
            model.sent.append(now)
