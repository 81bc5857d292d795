"""What answered and missed heartbeats mean for a node's availability. Pure; time is an argument.

As the reference's heartbeater.rs: one answer makes any node Active; a node that was seen is Offline
only when it was not seen for `offline_after` seconds; a warming-up one has `warming_up` seconds.
"""

from devstack.storage_controller.model import Availability

DEADLINE_SECONDS = 1.0
"""For one try of a heartbeat."""
PAUSES = (0.0, 1.1, 1.21)
"""Seconds before the second, third and fourth try of one heartbeat."""


class Heartbeats:
    """When each node was seen last. All times in seconds of one clock."""

    def __init__(self, *, offline_after: float, warming_up: float = 30.0) -> None:
        self._offline_after = offline_after
        self._warming_up = warming_up
        self._seen: dict[int, float] = {}
        self._warming_since: dict[int, float] = {}
        self._missing: set[int] = set()

    def warms_up(self, node_id: int, now: float) -> None:
        """Note that a node has just started."""
        self._warming_since[node_id] = now

    def missed(self, node_id: int) -> bool:
        """Whether the last heartbeat was not answered."""
        return node_id in self._missing

    def record(
        self, node_id: int, *, answered: bool, availability: Availability, now: float
    ) -> Availability:
        """The availability of a node after a heartbeat that ended at `now`."""
        if answered:
            self._missing.discard(node_id)
            self._seen[node_id] = now
            return Availability.ACTIVE
        self._missing.add(node_id)
        if availability is Availability.WARMING_UP:
            over = now - self._warming_since.setdefault(node_id, now) >= self._warming_up
            return Availability.OFFLINE if over else availability
        seen = self._seen.get(node_id)
        if seen is None or now - seen >= self._offline_after:
            return Availability.OFFLINE
        return availability
