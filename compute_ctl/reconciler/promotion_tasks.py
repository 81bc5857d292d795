"""What a promotion waits for, in tasks beside the loop: the log, and pg_promote.

Each returns why the standby cannot be promoted, '' where it can go on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from compute_common.errors import RequestError
from compute_common.system import failpoint
from compute_ctl.document.promotion import parse_lsn
from compute_ctl.errors import LoginError, ProbeError, SqlError
from compute_ctl.node.promotion import Promotion
from compute_ctl.ports import Clock, Postgres

POLL_S: Final = 0.1
"""Between two looks at how far the standby is."""


class Standby(Protocol):
    """What a promotion asks of the running server."""

    async def replayed(self) -> str | None:
        """Return how far the log is replayed, like ``0/1696F10``; None: nowhere. Bounded: 2 s.

        Raises:
            ProbeError: no answer in time.
        """

    async def promote(self, *, within_s: float) -> bool:
        """Call `pg_promote` and wait; return whether the server is a primary within that time.

        Raises:
            SqlError: the server refused; nothing promotes it.
            ProbeError: no answer; it may be promoted.
        """

    async def promoting(self) -> bool:
        """Return whether a `promote` of this or an earlier daemon still runs in the server.

        Raises:
            ProbeError: no answer within 2 s.
        """

    async def withdraw(self) -> bool:
        """Take back a request to be promoted, if the server has not taken it; whether it had not.

        Never raises.
        """


@dataclass(kw_only=True, eq=False)
class PromotionTasks:
    """The waits of the promotions of one server."""

    standby: Standby
    postgres: Postgres
    clock: Clock
    promote_s: float
    """For pg_promote, in seconds."""

    async def replay(self, promotion: Promotion) -> str:
        """Wait until the log is replayed as far as *promotion* wants."""
        wanted, end = promotion.view.wal_flush_lsn, self.clock.monotonic() + promotion.wait_s
        if wanted is None:
            return ""
        while True:
            try:
                at = await self.standby.replayed()
            except ProbeError as error:
                problem = str(error)
            else:
                promotion.replayed(at or "0/0")
                if at is not None and parse_lsn(at) >= parse_lsn(wanted):
                    return ""
                problem = f"it is at {at}" if at else "it has replayed nothing"
            if self.clock.monotonic() >= end:
                return (
                    f"postgres has not replayed {wanted} within {promotion.wait_s:g} s: {problem}"
                )
            await asyncio.sleep(POLL_S)

    async def promote(self, promotion: Promotion) -> str:
        """Call pg_promote; return why the server is a standby still, '' once it is a primary."""
        failpoint.reach("before-promote")
        limit, pid = self.promote_s, self.postgres.pid
        try:
            if await self.standby.promote(within_s=limit):
                return ""
        except (SqlError, LoginError) as error:  # nobody asked the server to become a primary
            return await self._decided(str(error), pid=pid, asked=False)
        except ProbeError as error:
            return await self._decided(str(error), pid=pid)
        reason = f"postgres was not promoted within {limit:g} s"
        if await self.standby.withdraw():
            return await self._decided(reason, pid=pid, asked=False)
        # It has taken the request, which cannot be taken back any more.
        promotion.answer(RequestError(500, f"{reason}; it goes on, see /status"))
        return await self._decided(reason, pid=pid, asked=True)

    async def _decided(self, reason: str, *, pid: int | None, asked: bool | None = None) -> str:
        """Return *reason* as soon as nothing promotes the server *pid*, '' once it is a primary.

        *asked*: whether it was asked to become one, None for unknown.
        """
        if asked is None and await self.standby.withdraw():
            asked = False
        while True:
            in_recovery = self.postgres.in_recovery
            if in_recovery is False:
                return ""
            restarted = self.postgres.pid != pid  # a request does not survive a restart
            if in_recovery and (restarted or asked is False):
                return reason
            if in_recovery and asked is None and not await self._promoting():
                return "" if self.postgres.in_recovery is False else reason
            await asyncio.sleep(POLL_S)

    async def resume(self, reason: str) -> str:
        """Find out what became of an earlier daemon's promotion; return as `promote`."""
        return await self._decided(reason, pid=self.postgres.pid)

    async def _promoting(self) -> bool:
        """Return whether pg_promote still runs; True where the server does not say."""
        try:
            return await self.standby.promoting()
        except ProbeError:
            return True
