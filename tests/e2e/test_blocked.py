"""A query that waits for a pageserver never holds anything up: cancel, timeout, stop, no daemon."""

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest

from devstack.compute import Compute
from devstack.wait import wait_until
from tests.support.queries import running_queries

ROWS = 1000
STOP_LIMIT_S = 20.0
"""A third of what a query waits for a pageserver before it fails."""


@pytest.fixture(params=["alive", "dead", "hung"])
def blocked_scan(request: pytest.FixtureRequest, compute: Compute) -> Iterator[str]:
    """Return a query that will wait for a dead pageserver, with the daemon in three conditions."""
    scan = compute.fill(ROWS)
    a = compute.pageserver("a")
    compute.publish(a)
    daemon = compute.start_daemon()
    if request.param == "dead":
        daemon.kill()
    elif request.param == "hung":
        os.kill(daemon.pid, signal.SIGSTOP)
    a.kill()
    yield scan
    if request.param == "hung":
        os.kill(daemon.pid, signal.SIGCONT)


def wait_suspicion(compute: Compute) -> None:
    """Wait until Postgres itself knows that it is in trouble."""
    wait_until(
        "a suspected shard",
        lambda: compute.postgres.query(
            "select 1 from neon_refresh.stat where suspected_since is not null"
        ),
    )


def test_cancel_at_once(compute: Compute, blocked_scan: str) -> None:
    """pg_cancel_backend ends a query that waits for a pageserver."""
    with running_queries(compute.postgres.connect) as start:
        query = start(blocked_scan)
        wait_suspicion(compute)
        compute.postgres.query(f"select pg_cancel_backend({query.pid})")

        assert isinstance(query.error(STOP_LIMIT_S), psycopg.errors.QueryCanceled)


def test_statement_timeout(compute: Compute, blocked_scan: str) -> None:
    """statement_timeout works while a query waits for a pageserver."""
    with (
        compute.postgres.connect(options="-c statement_timeout=300ms") as session,
        pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"),
    ):
        session.execute(blocked_scan.encode())


def test_fast_stop(compute: Compute, blocked_scan: str) -> None:
    """Postgres stops in fast mode long before the query would end, whatever the daemon does."""
    with running_queries(compute.postgres.connect) as start:
        query = start(blocked_scan)
        wait_suspicion(compute)

        assert compute.postgres.stop("fast") < STOP_LIMIT_S
        assert isinstance(query.error(), psycopg.errors.AdminShutdown)


def test_it_heals_once_the_daemon_is_back(compute: Compute) -> None:
    """With the daemon dead nothing heals; started again it hears of the trouble and mends it."""
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    compute.start_daemon().kill()
    a.kill()
    compute.publish(b)
    with running_queries(compute.postgres.connect) as start:
        query = start(scan)
        wait_suspicion(compute)
        assert query.running
        compute.daemon.start()

        assert ROWS == query.value()
