"""The policy on a virtual clock: when a suspicion ends."""

import pytest

from pg_hook import Policy, Source
from tests.core.policy import (
    PAGESERVER,
    PRIMARY,
    QUIET,
    SAFEKEEPER,
    SECOND,
    START,
    send,
)


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
