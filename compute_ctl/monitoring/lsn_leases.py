"""Keeps the leases of a static compute, on all pageservers of all shards in the live file.

After a move the new pageservers are asked at once, and the old ones no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from compute_common.redact import redact
from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.decisions.lsn_lease import LeaseRequest, LeaseStatus, renew_at, wanted
from compute_ctl.decisions.model import Attempt
from compute_ctl.decisions.transitions import Status
from compute_ctl.errors import LeaseRefusedError, ProbeError
from compute_ctl.node.observer import Observer
from compute_ctl.ports import Clock

logger = logging.getLogger(__name__)

ANSWER_S: Final = 5.0
"""How long a pageserver may take to connect and answer."""
THREAD_MARGIN_S: Final = 5.0
"""For a name lookup, which nothing else bounds."""
THREADS: Final = 8
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 30.0
REFUSED_S: Final = 60.0
"""A pageserver that has removed the pages will not have them again."""
SHORTEST_S: Final = 5.0
"""Between two grants, whatever the pageserver's clock says."""

Grant = Callable[[LeaseRequest, float], datetime]
"""Asks for a lease, within seconds; blocks. Raises LeaseRefusedError and ProbeError."""


@dataclass(slots=True)
class _Lease:
    """One lease, as far as it is granted."""

    until: datetime | None = None
    error: str | None = None
    failures: int = 0
    """In a row."""


class LsnLeases(Observer):
    """Asks for leases and renews them; `run` is its task."""

    def __init__(
        self,
        *,
        body: Callable[[], str],
        on_status: Callable[[LeaseStatus | None], None],
        grant: Grant,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        """*body* returns that of the live file; *jitter* a random number from 0 to 1."""
        self._body = body
        self._on_status = on_status
        self._grant = grant
        self._clock = clock
        self._jitter = jitter
        self._changed = asyncio.Event()
        self._worker = BlockingWorker("leases", threads=THREADS)
        self._leases: dict[LeaseRequest, _Lease] = {}
        self._tasks: dict[LeaseRequest, asyncio.Task[None]] = {}

    def on_attempt(self, attempt: Attempt) -> None:
        """Look at the live file: another may have been written."""
        self._changed.set()

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Look at the live file: a server that did not start is tried with another."""
        self._changed.set()

    async def run(self) -> None:
        """Keep the leases until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                requests = wanted(self._body())
                for gone in self._tasks.keys() - set(requests):
                    self._tasks.pop(gone).cancel()
                    del self._leases[gone]
                for new in [one for one in requests if one not in self._tasks]:
                    self._leases[new] = _Lease()
                    self._tasks[new] = group.create_task(self._keep(new, self._leases[new]))
                self._show()
                await self._changed.wait()
                self._changed.clear()

    async def _keep(self, request: LeaseRequest, lease: _Lease) -> None:
        """Keep one lease until cancelled."""
        while True:
            pause_s = await self._ask(request, lease)
            self._show()
            await asyncio.sleep(pause_s)

    async def _ask(self, request: LeaseRequest, lease: _Lease) -> float:
        """Ask once; return after how many seconds to ask again."""
        asked = self._clock.wall()
        try:
            until = await self._worker.run(
                lambda: self._grant(request, ANSWER_S),
                within_s=ANSWER_S + THREAD_MARGIN_S,
                queue=True,
            )
        except LeaseRefusedError as error:
            self._failed(request, lease, str(error))
            return REFUSED_S
        except (ProbeError, TimeoutError, RuntimeError) as error:  # the last: no thread
            self._failed(request, lease, str(error) or "no answer in time")
            longest = min(RETRY_FIRST_S * 2.0 ** (lease.failures - 1), RETRY_MAX_S)
            return longest * (1.0 + self._jitter()) / 2
        if lease.until is None or lease.error is not None:
            logger.info("lease of %s is granted until %s", request.lsn, until)
        lease.until, lease.error, lease.failures = until, None, 0
        return max((renew_at(asked, until) - asked).total_seconds(), SHORTEST_S)

    def _failed(self, request: LeaseRequest, lease: _Lease, reason: str) -> None:
        reason = redact(reason)
        if lease.error is None:
            logger.error("no lease of %s: %s", request.lsn, reason)
        lease.error, lease.failures = reason, min(lease.failures + 1, 16)

    def _show(self) -> None:
        """Show the lease in use that ends first, and the first error."""
        lsn = next((request.lsn for request in self._leases), None)
        if lsn is None:
            self._on_status(None)
            return
        ends = [lease.until for request, lease in self._leases.items() if request.in_use]
        known = [end for end in ends if end is not None]
        in_use_first = sorted(self._leases, key=lambda request: not request.in_use)
        errors = (self._leases[request].error for request in in_use_first)
        self._on_status(
            LeaseStatus(
                lsn=lsn,
                valid_until=min(known) if len(known) == len(ends) else None,
                error=next((error for error in errors if error is not None), None),
            )
        )
