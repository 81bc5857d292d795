"""Watches whether Postgres is used, and whether it answers SQL.

One connection, kept; every look ends within two seconds, and no error and no status ends the loop.
`last_active` is when a client last did something, and only moves forward; times cross SQL as
microseconds since 1970, so no session's time zone matters. Downtime counts from the first moment at
which Postgres was ready: a start is none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from compute_ctl.errors import ProbeError
from compute_ctl.ports import Clock, Postgres
from compute_ctl.sql.kept_session import KeptSession

logger = logging.getLogger(__name__)

APPLICATION: Final = "compute_ctl:compute_activity_monitor"
CHECK_S: Final = 2.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

LOOK: Final = """\
WITH others AS (
    SELECT state, state_change FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND usename <> 'cloud_admin' AND application_name NOT LIKE 'compute\\_ctl%'
)
SELECT
    EXISTS (SELECT FROM others WHERE state <> 'idle'),
    (SELECT (extract(epoch FROM max(state_change)) * 1000000)::bigint FROM others),
    EXISTS (SELECT FROM pg_stat_replication WHERE application_name <> 'walproposer')
        OR EXISTS (SELECT FROM pg_stat_subscription WHERE pid IS NOT NULL)
        OR EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'),
    (SELECT concat(sum((to_jsonb(one) ->> 'active_time')::float8), ' ',
                   sum((to_jsonb(one) ->> 'sessions')::bigint))
     FROM pg_stat_database one -- has neither column before 14
     WHERE datname NOT IN ('postgres', 'template0', 'template1'))"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """The result of one query."""

    busy: bool
    """A client is in a query or a transaction."""
    changed_at: datetime | None
    """When the last of the connected clients last changed its state; None without clients."""
    background: bool
    """Replication to or from elsewhere, or vacuum."""
    statistics: str
    """Changes with every session and query that ended."""


@dataclass(kw_only=True)
class Monitor:
    """Watches one server; `run` is its task."""

    session: KeptSession
    postgres: Postgres
    clock: Clock
    on_active: Callable[[datetime], None]
    """Called when `last_active` changes."""
    on_downtime: Callable[[float, float, str], None]
    """Called after each query: ms since Postgres last answered (0: it does), ms to add to the
    total, and why it does not."""
    by_statistics: Callable[[], bool] = lambda: False
    """Whether a change of the statistics counts as activity."""
    interval_s: float = 1.0
    last_active: datetime | None = None
    _statistics: str | None = None
    _up_at: float | None = None
    """Monotonic seconds; None before Postgres was ever ready."""
    _checked_at: float = 0.0

    async def run(self) -> None:
        """Query at intervals, until cancelled."""
        try:
            while True:
                await self.check()
                await asyncio.sleep(self.interval_s)
        finally:
            self.session.close()

    async def check(self) -> None:
        """Query once; never raises."""
        if not self.postgres.ready:
            self._is_up(why="it does not accept connections")
            return
        if self._up_at is None:
            self._up_at = self._checked_at = self.clock.monotonic()
        try:
            activity = await self._look()
        except (ProbeError, TimeoutError) as error:
            logger.debug("could not look at the activity in postgres: %s", error)
            self._is_up(why=str(error) or "no answer in time")
            return
        except Exception:  # a bug here must not stop the daemon
            logger.exception("could not look at the activity in postgres")
            return
        self._is_up()
        self._take(activity)

    def _is_up(self, *, why: str = "") -> None:
        """Record downtime; *why* says why Postgres does not answer, empty if it does."""
        up = not why
        if self._up_at is None:
            return
        now = self.clock.monotonic()
        was_down = self._up_at < self._checked_at
        added_s = now - self._checked_at if was_down or not up else 0.0
        self._checked_at = now
        if up:
            self._up_at = now
        self.on_downtime((now - self._up_at) * 1000, added_s * 1000, why)

    def _take(self, activity: Activity) -> None:
        now = self.clock.wall()
        before, self._statistics = self._statistics, activity.statistics
        counted = self.by_statistics() and before not in (None, activity.statistics)
        if activity.busy or activity.background or counted:
            active = now
        elif activity.changed_at is not None:
            active = min(activity.changed_at, now)  # the clock may have been ahead
        else:
            return
        if self.last_active is None or active > self.last_active:
            self.last_active = active
            self.on_active(active)

    async def _look(self) -> Activity:
        return _activity((await self.session.ask(LOOK, within_s=CHECK_S))[0])


def _activity(row: tuple[str | None, ...]) -> Activity:
    busy, changed_us, background, statistics = row
    return Activity(
        busy=busy == "t",
        changed_at=_EPOCH + timedelta(microseconds=int(changed_us)) if changed_us else None,
        background=background == "t",
        statistics=statistics or "",
    )
