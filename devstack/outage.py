"""One outage as all those concerned saw it: when each of them did its part.

The storage controller stamps its events with CLOCK_MONOTONIC; Postgres and the control plane use
the wall clock, which is the same for all processes of a machine.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from devstack.compute import TENANT
from devstack.stack import ComputeNode, Stack

PAGE: Final = b"select length(neon_refresh.read_page('pg_proc', 0))"
"""Reads a page of the storage; every server has that table."""
PAGE_BYTES: Final = 8192
REST_S: Final = 0.3
"""Before an outage: more than the shortest pause between two requests, or two reports."""
QUIET_S: Final = 30.0
"""For all to be at rest again."""

Event = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Milliseconds from the trouble to each step; None where nobody took it."""

    suspected: float | None = None
    """Postgres noticed."""
    decided: float | None = None
    """The control plane's verdict: its probes have failed, and it has acted or may not."""
    offline: float | None = None
    """The storage controller counts the node as offline."""
    attached: float | None = None
    """The other pageserver has the shard."""
    published: float | None = None
    """The document that names it can be fetched."""
    applied: float | None = None
    """Postgres acknowledged it."""
    page: float
    """The query that met the trouble has its page."""
    verdict: str = ""
    """What became of the verdict; empty: there was none."""

    def times(self) -> dict[str, float | None]:
        """The steps in their order."""
        return {name: value for name, value in asdict(self).items() if name != "verdict"}


class Query:
    """One query of a session, in a thread: it goes on while others are started and stopped."""

    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self._session = session
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error = "still runs"
        self.answered_at = 0.0
        """Monotonic seconds."""
        self._thread.start()

    def wait(self, limit_s: float) -> None:
        """Wait for its page. Raises RuntimeError where it brings none."""
        self._thread.join(limit_s)
        if self._thread.is_alive():
            self._session.cancel_safe()
            self._thread.join(5.0)
        if self._error:
            raise RuntimeError(f"the query brought no page: {self._error}")

    def _run(self) -> None:
        try:
            row = self._session.execute(PAGE).fetchone()
        except psycopg.Error as error:
            self._error = str(error)
        else:
            self.answered_at = time.monotonic()
            self._error = "" if row == (PAGE_BYTES,) else f"it brought {row}"


class Outage:
    """Lets a query of one compute meet trouble after trouble; `close` it."""

    def __init__(self, stack: Stack, compute: ComputeNode) -> None:
        self._stack = stack
        self._compute = compute
        with compute.postgres.connect() as session:
            session.execute("create extension if not exists neon_refresh")
        self._session = compute.postgres.connect()
        self._session.execute(PAGE)

    def close(self) -> None:
        """End its session."""
        self._session.close()

    def meet(
        self,
        trouble: Callable[[], object],
        *,
        during: Callable[[], object] = lambda: None,
        limit_s: float = 60.0,
    ) -> Phases:
        """Make *trouble*, ask for a page at once and wait for it; *during*: done meanwhile."""
        time.sleep(REST_S)
        mark = self._stack.controller.admin.mark()
        wall, begun = datetime.now(UTC), time.monotonic()
        trouble()
        query = Query(self._session)
        during()
        query.wait(limit_s)
        self.wait_quiet()
        noticed, acknowledged = self._postgres_saw(wall)
        return _phases(
            wall=wall,
            begun=begun,
            page=(query.answered_at - begun) * 1000,
            noticed=noticed,
            acknowledged=acknowledged,
            events=self._stack.controller.admin.events(since=mark),
            history=self._stack.control_plane.history(wall),
            node_id=self._stack.controller.located(TENANT)[0],
        )

    def wait_quiet(self) -> None:
        """Wait until the tenant is where it should be, all were told, and nobody complains."""
        self._stack.wait_settled(QUIET_S)
        self._compute.daemon.wait_status(
            "the end of suspicion",
            lambda found: (
                found["config"]["in_sync"]
                and found["status"] == "running"
                and not found["refresh"]["pending"]
            ),
            QUIET_S,
        )

    def _postgres_saw(self, wall: datetime) -> tuple[datetime | None, datetime | None]:
        """Return when Postgres noticed the trouble, and when it last acknowledged a document."""
        query = """select (select min(at) from neon_refresh.events where at >= %s),
                   (select last_ack from neon_refresh.stat where last_ack >= %s)"""

        ((noticed, acknowledged),) = self._compute.postgres.query(query, wall, wall)
        return noticed, acknowledged


def _phases(
    *,
    wall: datetime,
    begun: float,
    page: float,
    noticed: datetime | None,
    acknowledged: datetime | None,
    events: list[dict[str, Any]],
    history: list[dict[str, Any]],
    node_id: int,
) -> Phases:
    """Put together what each one says. Pure."""

    def since_wall(at: datetime | None) -> float | None:
        return None if at is None else (at - wall) / timedelta(milliseconds=1)

    def since_begun(at: float | None) -> float | None:
        return None if at is None else (at - begun) * 1000

    offline = [one["at"] for one in events if one.get("availability") == "Offline"]
    attached = [
        one["at"]
        for one in events
        if one["kind"] == "location_set"
        and one["node"] == node_id
        and one["mode"].startswith("Attached")
    ]
    verdicts = [one for one in history if one.get("verdict") is not None]
    decided = verdicts[0]["verdict"]["at"] if verdicts else None
    moved = [datetime.fromisoformat(one["at"]) for one in history if one["kind"] == "moved"]
    return Phases(
        suspected=since_wall(noticed),
        decided=since_wall(datetime.fromisoformat(decided)) if decided else None,
        offline=since_begun(min(offline, default=None)),
        attached=since_begun(min(attached, default=None)),
        published=since_wall(max(moved, default=None)),
        applied=since_wall(acknowledged),
        page=page,
        verdict=verdicts[0]["verdict"]["state"] if verdicts else "",
    )
