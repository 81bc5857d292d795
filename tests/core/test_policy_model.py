"""The policy against a model, on random sequences of events."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from pg_hook import Policy, Source
from pg_hook.suspicion import NEVER
from tests.core.policy import (
    BURST,
    EARLY,
    GAP,
    HEAL,
    MS,
    PAGESERVER,
    PRIMARY,
    QUIET,
    RETRY_MIN,
    SAFEKEEPER,
    SECOND,
    START,
)

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
