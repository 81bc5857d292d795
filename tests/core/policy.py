"""Numbers of the policy, and what its tests do to it."""

from pg_hook import Policy, Source

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
