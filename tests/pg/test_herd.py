"""Many backends that fail together, or some of them, or one after another."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from devstack.postgres import Postgres
from devstack.wait import wait_until
from pg_hook.shards import shard_of_block
from tests.pg.conftest import TABLE_PAGES, MakeNeon, MakePageserver
from tests.support.daemon_stub import REFRESH, DaemonStub

BACKENDS = 200
SHARDS = 8
DEAD = "host=127.0.0.1 port=1"
OUTAGE_SECONDS = 10.0
ARRIVAL_SECONDS = 0.5  # the first request may have taken that long to arrive
READ = b"SELECT count(neon_refresh.read_page('t', n)) FROM generate_series(0, 63) n"
READ_ON = b"SELECT count(neon_refresh.read_page('t', n % 64)) FROM generate_series(0, 100000000) n"
READ_ONE = b"SELECT length(neon_refresh.read_page('t', 0))"
REFUSED = 10
DEFAULT_PACING: dict[str, None] = {"neon_refresh.retry_min": None, "neon_refresh.retry_max": None}


@pytest.fixture
def herd_server(make_neon: MakeNeon, daemon: DaemonStub) -> Postgres:
    """A server of eight dead shards, with the default pacing and room for everybody."""
    return make_neon(
        {
            "max_connections": BACKENDS + 20,
            "neon.stripe_size": 8,
            **DEFAULT_PACING,
            "neon_refresh.query_cancel_after": 0,
        },
        daemon=daemon,
        pageservers=",".join([DEAD] * SHARDS),
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
        assert b"64" == result.get_value(0, 0), result.error_message
    assert time.monotonic() - begin < 200  # and so no limit has ended it

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
        pageservers=",".join([DEAD] * SHARDS),
    )
    with ExitStack() as stack:
        sessions = [stack.enter_context(server.connect()) for _ in range(20)]
        for session in sessions:
            session.pgconn.send_query(READ)
        events = "SELECT events_total FROM neon_refresh.stat"
        wait_until("many events", lambda: server.value(events) >= 12)
        assert 1 == len(daemon.of(REFRESH))
        daemon.answer()
        posts = daemon.wait_for(REFRESH, 2)
        assert posts[0].body["count"] + posts[1].body["count"] >= 12
        for session in sessions:
            session.pgconn.finish()


def finish(sessions: list[psycopg.Connection[tuple[Any, ...]]]) -> None:
    """Leave queries that have not ended."""
    for session in sessions:
        session.pgconn.finish()


def test_some_sessions_fail_while_another_is_served(
    make_neon: MakeNeon, make_pageserver: MakePageserver, daemon: DaemonStub
) -> None:
    """Ten sessions refused at login beside a stream in use: the bounds are those of an outage.

    A dozen requests in 10 s, each refused session at a pace of its own, a log line a change.
    """
    pageserver = make_pageserver()
    server = make_neon(DEFAULT_PACING, daemon=daemon, pageservers=pageserver.url)
    with ExitStack() as stack:
        served = stack.enter_context(server.connect())
        served.execute(READ_ONE)
        pageserver.admin.set_fault("auth_fail")
        connects = pageserver.admin.stats()["connections"]["total"]
        refused = [stack.enter_context(server.connect()) for _ in range(REFUSED)]
        begin = time.monotonic()
        served.pgconn.send_query(READ_ON)
        for session in refused:
            session.pgconn.send_query(READ_ONE)
        first = daemon.wait_for(REFRESH)[0].at
        wait_until("ten seconds", lambda: time.monotonic() - first >= OUTAGE_SECONDS, 20)

        outage = time.monotonic() - begin
        posts = [post for post in daemon.of(REFRESH) if post.at - first < OUTAGE_SECONDS]
        connects = pageserver.admin.stats()["connections"]["total"] - connects
        log = server.log_contains("pageserver of shard 0")
        pageserver.admin.clear_faults()
        for session in refused:
            result = session.pgconn.get_result()
            assert result is not None
            assert b"8192" == result.get_value(0, 0), result.error_message
        finish([served, *refused])

    assert 5 <= len(posts) <= 12
    # 1, 2, 4 ... 512 ms and then 1 s at the most, half of it on average
    assert connects <= REFUSED * (15 + 3 * outage)
    # it is in trouble; it answers others; some fail all the same: no more is said
    assert log <= 3


def pass_time(seconds: float) -> None:
    """Let a time pass that is itself what the test is about."""
    begin = time.monotonic()
    wait_until(f"{seconds:g} s", lambda: time.monotonic() - begin > seconds, seconds + 10)


def block_of(server: Postgres, shard: int) -> int:
    """Return a block of `t` that lies on a shard."""
    node = server.value("SELECT pg_relation_filenode('t')::bigint")
    return next(
        block
        for block in range(TABLE_PAGES)
        if shard_of_block(node, block, shard_count=SHARDS, stripe_size=1) == shard
    )


def test_new_trouble_does_not_wait_behind_old(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """Well into the outage of one shard, the first failure of others is asked about at once."""
    server = make_neon(
        {"neon.stripe_size": 1, "neon_refresh.retry_min": "100ms", "neon_refresh.retry_max": "60s"},
        daemon=daemon,
        pageservers=",".join([DEAD] * SHARDS),
    )
    with ExitStack() as stack:
        for shard in range(4):
            session = stack.enter_context(server.connect())
            stack.callback(session.pgconn.finish)
            read = f"SELECT neon_refresh.read_page('t', {block_of(server, shard)})"
            asked = len(daemon.of(REFRESH))
            begin = time.monotonic()
            session.pgconn.send_query(read.encode())
            assert daemon.wait_for(REFRESH, asked + 1)[asked].at - begin < 3
            if shard == 0:  # from now on a pause takes up to 6.4 s, and twice that after each
                daemon.wait_for(REFRESH, 6)


def test_an_outage_right_after_a_heal_is_asked_about_at_once(
    make_neon: MakeNeon, make_pageserver: MakePageserver, daemon: DaemonStub
) -> None:
    """A new endpoint that is dead too does not wait for the pace of the outage before it."""
    good = make_pageserver()
    server = make_neon(
        {"neon_refresh.retry_min": "15s", "neon_refresh.retry_max": "20s"},
        daemon=daemon,
        pageservers=DEAD,
    )
    with server.connect() as session:
        session.pgconn.send_query(READ_ONE)
        daemon.wait_for(REFRESH)
        for number, port in enumerate((2, 3), start=2):
            server.configure({"neon.pageserver_connstring": f"host=127.0.0.1 port={port}"})
            begin = time.monotonic()
            server.reload()
            assert daemon.wait_for(REFRESH, number)[-1].at - begin < 10
        server.configure({"neon.pageserver_connstring": good.url})
        server.reload()
        result = session.pgconn.get_result()
        assert result is not None
        assert b"8192" == result.get_value(0, 0)
        session.pgconn.get_result()


def test_a_silence_that_all_share_is_logged_once(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """Twenty sessions that wait for one shard are one line; a silence after the heal is news."""
    pageserver = make_pageserver()
    server = make_neon(
        {
            "neon.pageserver_response_log_timeout": "100ms",
            "neon_refresh.response_suspect_after": "60s",
        },
        pageservers=pageserver.url,
    )
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension'"
    line = "no response received from pageserver of shard 0"
    with ExitStack() as stack:
        sessions = [stack.enter_context(server.connect()) for _ in range(20)]
        for turn in (1, 2):
            for session in sessions:
                session.execute(READ_ONE)
            start = server.log_position()
            pageserver.pause()
            for session in sessions:
                session.pgconn.send_query(READ_ONE)
            wait_until("twenty that wait", lambda: server.value(waiting) >= 20)
            server.wait_log(line, start=start)
            pass_time(0.5)  # for the lines of all of them
            assert server.log_contains(line) == turn
            pageserver.resume()
            for session in sessions:
                assert session.pgconn.get_result() is not None
                assert session.pgconn.get_result() is None
            pass_time(0.5)  # more than 2 * retry_max: the next silence is a new one


def test_an_unreadable_token_file_is_logged_once(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """A line when the token file cannot be read, not one an attempt; another when that changes."""
    server = make_neon({"neon_refresh.auth_token_file": "/nowhere/token"}, daemon=daemon)
    server.configure({"neon.pageserver_connstring": DEAD})
    server.reload()
    line = "could not read file"
    failures = "SELECT sum(consecutive_failures) FROM neon_refresh.shards"
    with ExitStack() as stack:
        sessions = [stack.enter_context(server.connect()) for _ in range(5)]
        for session in sessions:
            session.pgconn.send_query(READ_ONE)
        wait_until("attempts", lambda: server.value(failures) > 10)
        assert 1 == server.log_contains(line)
        server.configure({"neon_refresh.auth_token_file": "/nowhere/else"})
        server.reload()
        finish(sessions)
    with server.connect() as session:
        session.pgconn.send_query(READ_ONE)
        server.wait_log('could not read file "/nowhere/else"')
        session.pgconn.finish()
