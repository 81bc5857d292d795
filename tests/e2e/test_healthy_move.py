"""A healthy move, seen by the sessions of pytest-postgresql: one POST, no restart, all from B."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pytest_postgresql import factories

from devstack.compute import SCAN, Compute, make_page_functions
from devstack.postgres import Postgres, Template

ROWS = 100_000


@pytest.fixture(scope="session")
def moving_compute(template: Template) -> Iterator[Compute]:
    """A compute without a daemon yet."""
    with Compute(template, name="moving") as compute:
        yield compute


@pytest.fixture(scope="session")
def moving_server(moving_compute: Compute) -> Postgres:
    """Its server, which has what pytest-postgresql wants to know of a process."""
    return moving_compute.postgres


moving_process = factories.postgresql_noproc(depends_on="moving_server")
moving = factories.postgresql("moving_process")


def fill(session: psycopg.Connection[Any]) -> tuple[str, int]:
    """Make a table that is all on disk; return the query that counts its rows, and its pages."""
    session.autocommit = True
    session.execute("create extension neon_refresh")
    make_page_functions(session)
    session.execute(
        "create table story as select n, repeat('x', 20) as filler "
        f"from generate_series(1, {ROWS}) as n"
    )
    session.execute("vacuum (freeze) story")
    session.execute("checkpoint")
    found = session.execute("select pg_relation_size('story') / 8192").fetchone()
    assert found is not None
    return SCAN.format(last=found[0] - 1, table="story"), found[0]


def test_healthy_move(moving: psycopg.Connection[Any], moving_compute: Compute) -> None:
    """One POST moves three open sessions from A to B, without a restart of Postgres."""
    compute = moving_compute
    scan, pages = fill(moving)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    pid = compute.postgres.pid
    others = [compute.postgres.connect(dbname=moving.info.dbname) for _ in range(2)]
    sessions = [moving, *others]
    for session in sessions:
        assert (ROWS,) == session.execute(scan.encode()).fetchone()
    assert a.admin.stats()["pages_sent"] == 3 * pages

    compute.publish(b)
    assert "applied" == daemon.refresh()

    for session in sessions:
        assert (ROWS,) == session.execute(scan.encode()).fetchone()
    for session in others:
        session.close()
    assert b.admin.stats()["pages_sent"] == 3 * pages
    assert a.admin.stats()["pages_sent"] == 3 * pages
    assert compute.setting("neon.pageserver_connstring") == b.url
    assert compute.postgres.pid == pid
    assert compute.postgres.running
    assert "running" == daemon.status()["status"]
