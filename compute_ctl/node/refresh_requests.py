"""Who asked for a refresh, and why.

Two counters make a signal impossible to lose: `requested` counts requests, an attempt *takes* the
count when its fetch starts, and a request is served when an attempt that began after it has ended.
The daemon keeps fetching while a suspicion lasts: 30 s after the last report of the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compute_ctl.decisions.model import Outcome, RequestOrigin, Suspicion, Ticket, Written
from compute_ctl.decisions.pacing import SUSPICION_LASTS_S

MAX_COMPLAINTS: Final = 256
"""Of different servers; there are at most 128 shards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerComplaint:
    """Postgres complains of a server; times are monotonic seconds."""

    suspicion: Suspicion
    since: float
    at: float
    """When it was last repeated."""
    marker: str = ""
    """Of the generation that Postgres ran with then; '' where it did not say."""


class RefreshRequests:
    """The refresh requests of one node; times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        self.requested = 0
        self.taken = 0
        self.served = 0
        self.asked_at: float | None = None
        """When the oldest request was made that no attempt has taken, but for the worker's."""
        self.by_operator = False
        """One of those requests is an operator's, not the daemon's own."""
        self.forced_at: float | None = None
        """The same, for one who wants a quarantined document tried again and no waiting."""
        self.suspected_since: float | None = None
        self.last_signal: float | None = None
        self.suspicion: Suspicion | None = None
        self.complaints: dict[tuple[str, int | None], ServerComplaint] = {}
        """The last one of each server that Postgres has complained of, by kind and shard."""
        self.left: dict[str, ServerComplaint] = {}
        """The last complaint of each pageserver that was left for another one of the document."""
        self.worker_complains = False
        """Postgres itself is among those who complained."""
        self._waiters: dict[asyncio.Future[Outcome], int] = {}
        self._last_outcome: Outcome | None = None

    @property
    def pending(self) -> bool:
        """Whether a request waits for an attempt to take it."""
        return self.requested > self.taken

    def add(
        self,
        now: float,
        *,
        source: RequestOrigin,
        suspicion: Suspicion | None,
        force: bool,
        marker: str = "",
    ) -> Ticket:
        """Record a request; one by the clock is no complaint."""
        coalesced = self.pending
        self.requested += 1
        if source is not RequestOrigin.WORKER:
            self.asked_at = self.asked_at or now
        self.by_operator = self.by_operator or source is RequestOrigin.OPERATOR
        if force:
            self.forced_at = self.forced_at or now
        if source is not RequestOrigin.CLOCK:
            if not self.suspected(now):
                self.suspected_since = now
            self.last_signal = now
            self.suspicion = suspicion or self.suspicion
            if suspicion is not None and source is RequestOrigin.WORKER:
                self._complain(now, suspicion, marker)
            self.worker_complains = self.worker_complains or source is RequestOrigin.WORKER
        return Ticket(refresh_id=self.requested, coalesced=coalesced)

    def take(self) -> bool:
        """Take all requests so far into an attempt; return whether one of them was forced."""
        forced = self.forced_at is not None
        self.taken = self.requested
        self.asked_at = self.forced_at = None
        self.by_operator = False
        return forced

    def end(self, served: int, outcome: Outcome) -> None:
        """Answer everybody whose request was taken by the attempt that ended."""
        self.served = max(self.served, served)
        self._last_outcome = outcome
        for future, refresh_id in self._waiters.items():
            if refresh_id <= served and not future.done():
                future.set_result(outcome)

    def end_all(self, outcome: Outcome) -> None:
        """Answer everybody: there will be no further attempt."""
        self.end(self.requested, outcome)

    async def wait(self, refresh_id: int, timeout_s: float) -> Outcome:
        """Wait for the end of an attempt that began after request *refresh_id*."""
        if refresh_id <= self.served and self._last_outcome is not None:
            return self._last_outcome
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiters[future] = refresh_id
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return Outcome.TIMEOUT
        finally:
            del self._waiters[future]

    def suspected(self, now: float) -> bool:
        """Whether somebody has complained within the last 30 s and nothing has helped since."""
        return self.last_signal is not None and now - self.last_signal < SUSPICION_LASTS_S

    def _complain(self, now: float, suspicion: Suspicion, marker: str) -> None:
        server = suspicion.source, suspicion.shard
        earlier = self.complaints.get(server)
        lasts = earlier is not None and now - earlier.at < SUSPICION_LASTS_S
        since = earlier.since if earlier is not None and lasts else now
        if earlier is not None or len(self.complaints) < MAX_COMPLAINTS:
            self.complaints[server] = ServerComplaint(
                suspicion=suspicion, since=since, at=now, marker=marker
            )

    def lasting_complaints(self, now: float) -> list[ServerComplaint]:
        """Return one complaint for each server of which Postgres complained within 30 s."""
        return [it for it in self.complaints.values() if _lasts(it, now)]

    def suspected_shards(self, written: Written, now: float) -> frozenset[int]:
        """Return the shards of whose pageserver in *written* Postgres itself complains.

        Where a pageserver is dead, all shards that it serves. A complaint must name the marker,
        which no stranger knows.
        """
        in_use, suspected, dead = written.candidates.in_use, set(), set()
        for complaint in self.lasting_complaints(now):
            it, number = complaint.suspicion, complaint.suspicion.shard or 0
            current = complaint.marker == str(written.marker)
            if it.source == "pageserver" and current and number < len(in_use):
                suspected.add(number)
                if it.trouble == "dead":
                    dead.add(in_use[number])
        return frozenset(suspected | {at for at, one in enumerate(in_use) if one in dead})

    def leave(self, servers: Mapping[int, str], now: float) -> None:
        """Remember why *servers*, pageservers by shard, are left: the complaints end with that.

        Whoever the daemon reports to is to know all the same that they fail.
        """
        self.left = {server: it for server, it in self.left.items() if _lasts(it, now)}
        for complaint in self.lasting_complaints(now):
            server = servers.get(complaint.suspicion.shard or 0)
            if server is not None and complaint.suspicion.source == "pageserver":
                self.left[server] = complaint

    def lasting_left(self, written: Written, now: float) -> dict[str, ServerComplaint]:
        """Return what was left within 30 s, is named in *written* still, and not in use again."""
        named = {server for shard in written.candidates.named for server in shard}
        named -= set(written.candidates.in_use)
        return {one: it for one, it in self.left.items() if one in named and _lasts(it, now)}

    def clear_suspicion(self) -> None:
        """Forget the complaints: their cause was removed, or they have ended."""
        self.suspected_since = self.last_signal = self.suspicion = None
        self.complaints.clear()
        self.worker_complains = False

    def trouble_over(self) -> None:
        """Forget the complaints, if they were Postgres's own: it says that all is well."""
        if self.worker_complains:
            self.clear_suspicion()


def _lasts(complaint: ServerComplaint, now: float) -> bool:
    return now - complaint.at < SUSPICION_LASTS_S
