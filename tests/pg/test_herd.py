"""Many backends that fail together."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon, MakePageserver
from tests.support.daemon_stub import REFRESH, DaemonStub

BACKENDS = 200
SHARDS = 8
OUTAGE_SECONDS = 10.0
ARRIVAL_SECONDS = 0.5  # the first request may have taken that long to arrive
READ = b"SELECT count(neon_refresh.read_page('t', n)) FROM generate_series(0, 63) n"


@pytest.fixture
def herd_server(make_neon: MakeNeon, daemon: DaemonStub) -> Postgres:
    """A server of eight dead shards, with the default pacing and room for everybody."""
    return make_neon(
        {
            "max_connections": BACKENDS + 20,
            "neon.stripe_size": 8,
            "neon_refresh.retry_min": None,
            "neon_refresh.retry_max": None,
            "neon_refresh.query_cancel_after": 0,
        },
        daemon=daemon,
        pageservers=",".join(["host=127.0.0.1 port=1"] * SHARDS),
    )


@pytest.fixture
def herd(herd_server: Postgres) -> Iterator[list[psycopg.Connection[tuple[Any, ...]]]]:
    """Two hundred sessions, each with a query on its way (libpq's own calls: no threads)."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(herd_server.connect()) for _ in range(BACKENDS)]
        for session in sessions:
            session.pgconn.send_query(READ)
        yield sessions
        for session in sessions:
            session.pgconn.finish()


def test_a_lasting_outage_of_everybody(
    herd_server: Postgres,
    herd: list[psycopg.Connection[tuple[Any, ...]]],
    make_pageserver: MakePageserver,
    daemon: DaemonStub,
) -> None:
    """200 backends on 8 dead shards: a dozen requests in 10 s, few reconnects, all heal."""
    first = daemon.wait_for(REFRESH)[0].at
    wait_until("ten seconds", lambda: time.monotonic() - first >= OUTAGE_SECONDS, 20)
    limit = OUTAGE_SECONDS - ARRIVAL_SECONDS
    posts = [post for post in daemon.of(REFRESH) if post.at - first < limit]
    attempts = herd_server.query(
        "SELECT sum(consecutive_failures), count(*) FROM neon_refresh.shards "
        "WHERE state = 'suspected'"
    )[0]
    lines = herd_server.log_contains("is in trouble")

    good = make_pageserver(stripe_size=8)
    herd_server.configure({"neon.pageserver_connstring": ",".join([good.url] * SHARDS)})
    begin = time.monotonic()
    herd_server.reload()
    for session in herd:
        result = session.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"64", result.error_message
    assert time.monotonic() - begin < 20

    assert 5 <= len(posts) <= 12
    # each backend fails once; after that the shared backoff lets one a shard through at a time
    assert attempts[0] < BACKENDS + SHARDS * 40
    assert lines == attempts[1]


def test_one_request_at_a_time(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """While the daemon thinks, everything that happens waits for the next request."""
    daemon.hang()
    server = make_neon(
        {"neon.stripe_size": 8, "neon_refresh.request_timeout": "60s"},
        daemon=daemon,
        pageservers=",".join(["host=127.0.0.1 port=1"] * SHARDS),
    )
    with ExitStack() as stack:
        sessions = [stack.enter_context(server.connect()) for _ in range(20)]
        for session in sessions:
            session.pgconn.send_query(READ)
        events = "SELECT events_total FROM neon_refresh.stat"
        wait_until("many events", lambda: server.value(events) >= 12)
        assert len(daemon.of(REFRESH)) == 1
        daemon.answer()
        posts = daemon.wait_for(REFRESH, 2)
        assert posts[0].body["count"] + posts[1].body["count"] >= 12
        for session in sessions:
            session.pgconn.finish()
