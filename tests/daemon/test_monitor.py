"""Whether anybody uses a real server, and whether it answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from compute_ctl.monitoring.monitor import APPLICATION, Monitor
from compute_ctl.postgres import Attached
from compute_ctl.sql.kept_session import KeptSession
from devstack.postgres import Postgres, Template
from devstack.wait import until, wait_until
from tests.support.clock import FakeClock
from tests.support.fixtures import PostgresFactory


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """One server whose clock hands are set to another time zone."""
    with Postgres(template, name="monitor") as made:
        made.configure({"timezone": "Asia/Tokyo", "autovacuum": False})
        yield made.start()


@dataclass
class Watched:
    """A monitor and what it told."""

    monitor: Monitor
    clock: FakeClock
    active: list[datetime] = field(default_factory=list)
    downtime: list[tuple[float, float]] = field(default_factory=list)


@asynccontextmanager
async def watching(server: Postgres, *, by_statistics: bool = False) -> AsyncIterator[Watched]:
    """Watch *server*, looking only when told to."""
    clock = FakeClock(now=0.0, wall=lambda: datetime.now(UTC))
    active: list[datetime] = []
    downtime: list[tuple[float, float]] = []
    session = KeptSession(server.dsn(), application_name=APPLICATION)
    monitor = Monitor(
        session=session,
        postgres=Attached(server.data),
        clock=clock,
        on_active=active.append,
        on_downtime=lambda current, added, _: downtime.append((current, added)),
        by_statistics=lambda: by_statistics,
    )
    try:
        yield Watched(monitor, clock, active, downtime)
    finally:
        session.close()


def ours(server: Postgres) -> int:
    """How many connections of the monitor there are."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    found: int = server.value(count, APPLICATION)
    return found


async def test_nobody_is_there(server: Postgres) -> None:
    """Without clients nothing is active, and our own connections are none."""
    async with watching(server) as watched:
        for _ in range(3):
            await watched.monitor.check()
        assert ([], None) == (watched.active, watched.monitor.last_active)


async def test_idle_client_was_active_when_it_stopped(server: Postgres) -> None:
    """The time is that of the client's last change, in whatever zone the server lives."""
    async with watching(server) as watched:
        with server.connect() as client:
            before = datetime.now(UTC)
            client.execute("SELECT 1")
            after = datetime.now(UTC)
            await watched.monitor.check()
            await watched.monitor.check()
        assert 1 == len(watched.active)
        assert before - timedelta(seconds=1) <= watched.active[0] <= after + timedelta(seconds=1)


async def test_busy_client_is_active_now(server: Postgres) -> None:
    """A client in a transaction is active at every look, however long it has been there."""
    async with watching(server) as watched:
        with server.connect(autocommit=False) as client:
            client.execute("SELECT 1")
            await watched.monitor.check()
            await watched.monitor.check()
        assert 2 == len(watched.active)
        assert watched.active[0] < watched.active[1]


async def test_own_superuser_is_nobody(server: Postgres) -> None:
    """Sessions of cloud_admin are the operator's, not a user's."""
    server.query("CREATE ROLE cloud_admin SUPERUSER LOGIN")
    async with watching(server) as watched:
        with server.connect(user="cloud_admin", autocommit=False) as client:
            client.execute("SELECT 1")
            await watched.monitor.check()
        assert [] == watched.active


async def test_never_backwards(server: Postgres) -> None:
    """A client that was idle for longer than the last activity moves nothing."""
    async with watching(server) as watched:
        with server.connect() as old:
            old.execute("SELECT 1")
            watched.monitor.last_active = datetime.now(UTC)
            await watched.monitor.check()
        assert [] == watched.active


@pytest.mark.parametrize("by_statistics", [True, False])
async def test_statistics_count_where_asked(server: Postgres, by_statistics: bool) -> None:
    """A session that came and went between two looks is seen in the statistics only."""
    name = f"counted_{by_statistics}".lower()
    server.query(f"CREATE DATABASE {name}")
    counted = (
        "SELECT sessions > 0 AND NOT EXISTS"
        " (SELECT FROM pg_stat_activity AS one WHERE one.datname = all_.datname)"
        f" FROM pg_stat_database AS all_ WHERE datname = '{name}'"
    )
    with server.connect(application_name="compute_ctl:test") as eye:

        def is_counted() -> bool:
            return eye.execute(counted.encode()).fetchone() == (True,)

        async with watching(server, by_statistics=by_statistics) as watched:
            await watched.monitor.check()
            with server.connect(dbname=name) as client:
                client.execute("SELECT 1")
            wait_until("the session to be counted", is_counted)
            watched.active.clear()
            await watched.monitor.check()
            assert by_statistics == bool(watched.active)


async def test_one_connection_is_kept(server: Postgres) -> None:
    """Looks share a connection."""
    async with watching(server) as watched:
        for _ in range(3):
            await watched.monitor.check()
        assert 1 == ours(server)


async def test_downtime_is_counted_and_ends(make_postgres: PostgresFactory) -> None:
    """While Postgres is away downtime grows; a restart ends it, with a new connection."""
    server = make_postgres()
    async with watching(server) as watched:
        await watched.monitor.check()
        server.stop()
        for watched.clock.now in (1.0, 3.0):
            await watched.monitor.check()
        server.start()
        watched.clock.now = 4.0
        await watched.monitor.check()
        assert [(0.0, 0.0), (1000.0, 1000.0), (3000.0, 2000.0), (0.0, 1000.0)] == watched.downtime


async def test_lost_connection_is_no_downtime(server: Postgres) -> None:
    """A connection that was closed from outside is replaced within the same look."""
    async with watching(server) as watched:
        await watched.monitor.check()
        server.query(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = %s",
            APPLICATION,
        )
        watched.clock.now = 1.0
        await watched.monitor.check()
        assert [(0.0, 0.0), (0.0, 0.0)] == watched.downtime


async def test_silent_server_is_down(server: Postgres) -> None:
    """A server that does not answer within two seconds is down, and the loop goes on."""
    async with watching(server) as watched:
        await watched.monitor.check()
        with server.connect(autocommit=False) as locker:
            locker.execute("LOCK TABLE pg_authid, pg_database IN ACCESS EXCLUSIVE MODE")
            watched.clock.now = 1.0
            begun = time.monotonic()
            await watched.monitor.check()
            assert time.monotonic() - begun < 15
        watched.clock.now = 2.0
        await watched.monitor.check()
        assert [(0.0, 0.0), (1000.0, 1000.0), (0.0, 1000.0)] == watched.downtime


async def test_the_loop_never_stops(make_postgres: PostgresFactory) -> None:
    """Whatever happens to Postgres, the task goes on and sees it come back."""
    server = make_postgres()
    async with watching(server) as watched:
        watched.monitor.interval_s = 0.01
        task = asyncio.create_task(watched.monitor.run())

        def seen(*, up: bool) -> bool:
            watched.clock.now += 0.01
            return bool(watched.downtime) and (watched.downtime[-1][0] == 0.0) == up

        try:
            await until("it is seen up", lambda: seen(up=True))
            await asyncio.to_thread(server.kill)
            await until("it is seen down", lambda: seen(up=False))
            await asyncio.to_thread(server.start)
            await until("it is seen up", lambda: seen(up=True))
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
