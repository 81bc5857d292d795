"""The policy on a virtual clock: fixed stories, then random ones against a model."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pg_hook import Policy, Source
from pg_hook.suspicion import NEVER

MS, SECOND = 1000, 1_000_000
RETRY_MIN, RETRY_MAX, QUIET, BURST = 50 * MS, 5 * SECOND, 30 * SECOND, 12
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
    """After the last suspected shard answers nothing more is sent; the next trouble is new."""
    policy = Policy(seed=1)
    policy.event(PAGESERVER, START, shard=0)
    policy.event(PAGESERVER, START, shard=1)
    send(policy, START)
    policy.end(PAGESERVER, shard=0)
    assert policy.suspects
    policy.end(PAGESERVER, shard=1)
    assert not policy.suspects
    assert policy.wait_us(START + 1) == NEVER
    assert not policy.due(START + 60 * SECOND)
    policy.event(PAGESERVER, START + SECOND, shard=1)
    assert policy.due(START + SECOND)


def test_retry_min_between_outages() -> None:
    """A pageserver that answers one page and fails the next cannot cause a storm."""
    policy = Policy(seed=1)
    for turn in range(10):
        now = START + turn * RETRY_MIN
        policy.event(PAGESERVER, now, shard=0)
        send(policy, now)
        policy.end(PAGESERVER, shard=0)
        policy.event(PAGESERVER, now + 2 * MS, shard=0)
        assert not policy.due(now + RETRY_MIN - 1)
        policy.end(PAGESERVER, shard=0)


def test_whole_source_ends() -> None:
    """Without a shard, the end is that of every shard of the source, and of no other source."""
    policy = Policy(seed=1)
    for shard in (-1, 0, 127, 128):
        policy.event(PAGESERVER, START, shard=shard)
    policy.event(PRIMARY, START)
    policy.end(PAGESERVER)
    assert policy.suspects
    policy.end(PRIMARY)
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
    policy.end(PAGESERVER, shard=1)
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


@dataclass
class Model:
    """What must hold, kept apart from how the policy does it."""

    suspected: dict[tuple[Source, int], tuple[int, bool]] = field(default_factory=dict)
    in_flight: bool = False
    sent: list[int] = field(default_factory=list)
    """Of this outage."""
    last_sent: int | None = None

    def expire(self, now: int) -> None:
        """Forget what only others reported, and not for long."""
        self.suspected = {
            key: (seen, reported)
            for key, (seen, reported) in self.suspected.items()
            if not (reported and now - seen >= QUIET)
        }
        self.settle()

    def settle(self) -> None:
        """End the outage if nothing is suspected."""
        if not self.suspected:
            self.sent.clear()

    def event(self, source: Source, shard: int, reported: bool, now: int) -> None:
        """Suspect; our own suffering stays our own."""
        self.expire(now)
        own_before = not self.suspected.get((source, shard), (0, True))[1]
        self.suspected[source, shard] = (now, (reported or shard < 0) and not own_before)

    def end(self, source: Source, shard: int) -> None:
        """Forget a shard, or with -1 the whole source."""
        self.suspected = {
            key: value
            for key, value in self.suspected.items()
            if key[0] != source or (key[1] != shard and shard >= 0)
        }
        self.settle()


STEPS = st.one_of(
    st.tuples(
        st.just("event"),
        st.sampled_from([(PAGESERVER, 0), (PAGESERVER, 1), (SAFEKEEPER, -1), (PRIMARY, -1)]),
        st.booleans(),
    ),
    st.tuples(st.just("end"), st.sampled_from([(PAGESERVER, 0), (PAGESERVER, -1), (PRIMARY, -1)])),
    st.tuples(st.just("sleep"), st.integers(0, 40 * SECOND)),
    st.tuples(st.just("sleep"), st.integers(0, 100 * MS)),
    st.tuples(st.just("wait")),
    st.tuples(st.just("finish")),
)
Step = tuple[Literal["event", "end", "sleep", "wait", "finish"], object, object]


@settings(max_examples=300)
@given(steps=st.lists(STEPS, max_size=120), seed=st.integers(0, 2**64 - 1))
def test_any_story(steps: list[Step], seed: int) -> None:
    """After every step: who is suspected is the model's; what goes out respects every floor."""
    policy, model, now = Policy(seed=seed), Model(), START
    for step in steps:
        match step:
            case ("event", (Source() as source, int(shard)), reported):
                policy.event(source, now, shard=shard, reported=bool(reported))
                model.event(source, shard, bool(reported), now)
            case ("end", (Source() as source, int(shard))):
                policy.end(source, shard=shard)
                model.end(source, shard)
            case ("sleep", int(microseconds)):
                now += microseconds
            case ("wait",):
                wait = policy.wait_us(now)
                assert wait == NEVER or wait <= 2 * RETRY_MAX
                now += wait if wait != NEVER else 0
            case _ if model.in_flight:
                policy.finished(now)
                model.in_flight = False
            case _:
                pass
        due = policy.due(now)
        model.expire(now)
        assert policy.suspects == bool(model.suspected)
        assert due == (policy.wait_us(now) == 0 and bool(model.suspected) and not model.in_flight)
        if due:
            assert model.last_sent is None or now - model.last_sent >= RETRY_MIN
            assert len(model.sent) < BURST or now - model.sent[-BURST] >= 2 * RETRY_MAX
            policy.sent(now)
            model.in_flight, model.last_sent = True, now
            model.sent.append(now)
        elif model.suspected and not model.in_flight and not model.sent:
            assert model.last_sent is not None
            assert now - model.last_sent < RETRY_MIN
