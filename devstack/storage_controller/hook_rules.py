"""Bodies of the hooks, what each answer means, and when to try again. Pure.

As the reference's compute_hook.rs and backoff.rs.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devstack.storage_controller.model import Tenant, Timeline

Body = dict[str, Any]

CONCURRENCY = 32
TIMEOUT_SECONDS = 10.0
TRIES = 11
SLOW_DOWN_SECONDS = 5.0
RECONCILE_SECONDS = 20.0
"""How often shards that are not as wanted, or of which nobody was told, are tried again."""


class Result(enum.Enum):
    """What one request came to. The value is what events call it."""

    OK = "ok"
    BUSY = "busy"  # stored by the control plane, but not applied
    SLOW_DOWN = "slow down"
    UNAVAILABLE = "unavailable"
    REQUEST = "request failed"  # no answer, or none in time
    FATAL = "fatal"
    UNEXPECTED = "unexpected"

    @property
    def retried(self) -> bool:
        """Whether the same notification is tried again at once."""
        return self in (Result.SLOW_DOWN, Result.UNAVAILABLE, Result.REQUEST)


_BY_STATUS = {
    423: Result.BUSY,
    429: Result.SLOW_DOWN,
    502: Result.UNAVAILABLE,
    503: Result.UNAVAILABLE,
    504: Result.UNAVAILABLE,
    400: Result.FATAL,
    401: Result.FATAL,
    403: Result.FATAL,
}


def result_of(status: int) -> Result:
    """What an HTTP status means."""
    if 200 <= status < 300:
        return Result.OK
    return _BY_STATUS.get(status, Result.UNEXPECTED)


def pause(attempt: int, *, base: float = 0.1, most: float = 3.0) -> float:
    """Seconds to wait after failed attempt number `attempt`, counted from 0."""
    return 0.0 if attempt == 0 else min((1.0 + base) ** attempt, most)


def migration_pause(attempt: int) -> float:
    """The same where a live migration waits for the control plane."""
    return pause(attempt, base=1.0, most=10.0)


def attach_body(tenant: Tenant, nodes: Mapping[int, int]) -> Body | None:
    """The body of notify-attach; None while the node of a shard is unknown.

    `nodes`: shard number -> node id. One shard, however it is counted, is sent as unsharded.
    """
    if set(nodes) != {shard.number for shard in tenant.shards}:
        return None
    return {
        "tenant_id": tenant.id,
        "preferred_az": tenant.preferred_az,
        "stripe_size": tenant.stripe_size if len(tenant.shards) > 1 else None,
        "shards": [
            {"node_id": node, "shard_number": number} for number, node in sorted(nodes.items())
        ],
    }


def safekeepers_body(timeline: Timeline, hostnames: Mapping[int, str | None]) -> Body:
    """The body of notify-safekeepers: the members of both configurations."""
    return {
        "tenant_id": timeline.tenant_id,
        "timeline_id": timeline.timeline_id,
        "generation": timeline.generation,
        "safekeepers": [{"id": id_, "hostname": hostnames.get(id_)} for id_ in timeline.union],
    }


@dataclass(kw_only=True)
class Remembered:
    """What the control plane was last told of a tenant, and whether it has applied it."""

    nodes: dict[int, int] = field(default_factory=dict)
    """Shard number -> node id, as of the last attach."""
    sent: Body | None = None
    applied: bool = False

    def due(self, body: Body | None) -> bool:
        """Whether `body` must be sent."""
        return body is not None and not (self.applied and self.sent == body)

    def note(self, body: Body, result: Result) -> None:
        """Remember the outcome; after an error everything is sent again."""
        self.sent = body if result in (Result.OK, Result.BUSY) else None
        self.applied = result is Result.OK
