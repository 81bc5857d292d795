"""The control plane of a fleet: what is published, and what it can bear.

It serves one request after the other, `capacity` a second; who would wait longer than a second is
turned away with 503 and Retry-After. A request that it holds open costs nothing while it is held,
and as much as any other when it comes and when it is answered with news.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from devstack.document import attached
from devstack.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from bench.fleet_compute import Compute

PATIENCE_S: Final = 1.0
"""How long the control plane lets a request wait before it turns others away ..."""
RETRY_AFTER_S: Final = 2.0
"""... and what it tells those."""
BUCKET_S: Final = 0.1


def url(place: int) -> str:
    """Return the connection string of a pageserver."""
    return f"postgresql://ps{place}:6400"


def _document(place: int) -> bytes:
    document = attached(
        tenant="1" * 32, timeline="2" * 32, pageservers=[url(place)], generation=place + 1
    )
    return json.dumps(document).encode()


DOCUMENTS: Final = tuple(_document(place) for place in range(3))


@dataclass(kw_only=True)
class Scenario:
    """What happens to a fleet."""

    computes: int
    share: float = 1 / 3
    """Of the computes, whose pageserver dies."""
    capacity: float = 2000.0
    """Requests a second that the control plane serves."""
    published_after_s: float = 5.0
    """From the death until the control plane knows the new place of all of them, at once."""
    long_poll: bool = True
    known: bool = True
    """Each daemon has seen a long poll held before, in an outage of its own."""
    jitter: bool = True
    seed: int = 1
    sample: int = 1
    """Simulate this part of the fleet, and of the capacity: counts are as many times more."""


@dataclass
class ControlPlane:
    """One server for the whole fleet."""

    loop: VirtualLoop
    scenario: Scenario
    arrivals: Counter[int] = field(default_factory=Counter)
    """Requests by bucket of `BUCKET_S`."""
    turned_away: int = 0
    longest_wait_s: float = 0.0
    _free_at: float = 0.0

    async def ask(self, compute: Compute, etag: str | None, wait_s: int | None) -> Fetched:
        """Serve one request, or turn it away."""
        self.arrivals[int(self.loop.now / BUCKET_S)] += 1
        if self._free_at - self.loop.now > PATIENCE_S:
            self.turned_away += 1
            raise FetchError("503 Service Unavailable", retry_after_s=RETRY_AFTER_S)
        await self._serve()
        held = wait_s is not None and self.scenario.long_poll
        if held and wait_s is not None and etag == compute.etag:
            try:
                await asyncio.wait_for(compute.published.wait(), wait_s)
            except TimeoutError:
                pass
            else:
                await self._serve()
        if etag == compute.etag:
            return Fetched(status=FetchStatus.NOT_MODIFIED, etag=etag, long_polled=held)
        return Fetched(
            status=FetchStatus.ATTACHED,
            raw=DOCUMENTS[compute.place],
            etag=compute.etag,
            long_polled=held,
        )

    async def _serve(self) -> None:
        now = self.loop.now
        self._free_at = max(now, self._free_at) + self.scenario.sample / self.scenario.capacity
        self.longest_wait_s = max(self.longest_wait_s, self._free_at - now)
        await asyncio.sleep(self._free_at - now)
