"""The way of a heal needs nothing of what is broken: no pageserver, no SQL, no connection slot."""

from collections.abc import Callable

import psycopg

from devstack.wait import wait_until
from tests.e2e.conftest import ComputeFactory
from tests.support.queries import Query, running_queries

SLOTS = 6


def take_all_slots(start: Callable[[str], Query], sql: str) -> list[Query]:
    """Start queries until the server takes no more sessions."""
    queries: list[Query] = []
    while len(queries) <= SLOTS:
        try:
            queries.append(start(sql))
        except psycopg.OperationalError as error:
            if "too many clients" not in str(error):
                raise
            return queries
    raise AssertionError(f"the server took more than {SLOTS} sessions")


def test_all_pageservers_dead_and_no_slot_left(make_compute: ComputeFactory) -> None:
    """Every connection slot is held by a query that waits for a dead pageserver: it heals."""
    compute = make_compute(
        settings={
            "max_connections": SLOTS,
            "superuser_reserved_connections": 1,
            "max_wal_senders": 0,
        }
    )
    scan = compute.fill(1000)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    a.kill()
    with running_queries(compute.postgres.connect) as start:
        queries = take_all_slots(start, scan)
        daemon.wait_status("suspicion", lambda found: found["refresh"]["suspicion"])
        compute.publish(b)

        assert [query.value() for query in queries] == [1000] * len(queries)
    daemon.wait_status(
        "it is applied and nothing more is due",
        lambda found: found["config"]["in_sync"] and found["status"] == "running",
    )
    assert compute.setting("neon.pageserver_connstring") == b.url


def test_sql_that_never_answers(make_compute: ComputeFactory) -> None:
    """Where SQL hangs, the acknowledgement alone proves the upstream part within the deadline."""
    compute = make_compute()
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    with compute.postgres.connect() as session:
        # Whoever connects reads pg_database and pg_authid: locked, no new session comes up.
        session.execute("begin")
        session.execute("lock table pg_catalog.pg_authid in access exclusive mode")
        compute.publish(b)

        assert "applied" == daemon.refresh()
        session.execute("rollback")
    wait_until("b in pg_settings", lambda: compute.setting("neon.pageserver_connstring") == b.url)
    applied = daemon.status()["config"]["applied"]
    good = daemon.wait_status(
        "the rest is checked as soon as SQL answers",
        lambda found: found["config"]["proven_in_full"]["generation"] == applied["generation"],
    )
    assert good
