"""A standby whose primary has moved, died, or become another."""

import os
import re
import signal
import socket
from collections.abc import Iterator

import pytest

from devstack.installation import major
from devstack.postgres import Postgres, Template
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.pg.queries import wait_no_suspicion
from tests.support.daemon_stub import REFRESH, DaemonStub

FAST = {
    "wal_retrieve_retry_interval": "100ms",
    "wal_receiver_timeout": "2s",
    "neon_refresh.connect_timeout": "500ms",
    "neon_refresh.response_suspect_after": "500ms",
}
STREAMING = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"


@pytest.fixture
def primary(make_neon: MakeNeon) -> Postgres:
    """Return a primary."""
    return make_neon(name="primary")


@pytest.fixture
def standby(make_neon: MakeNeon, daemon: DaemonStub) -> Postgres:
    """Return a standby that is not started yet."""
    server = make_neon(FAST, daemon=daemon, name="standby", start=False)
    (server.data / "standby.signal").touch()
    return server


def follow(standby: Postgres, primary: Postgres) -> None:
    """Start the standby and wait until it streams."""
    standby.configure({"primary_conninfo": primary.dsn()})
    standby.start()
    wait_until("streaming", lambda: standby.value(STREAMING) == 1)


def test_a_primary_that_dies_is_suspected_until_the_next_is_found(
    primary: Postgres, standby: Postgres, make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """The walreceiver's errors make the standby ask; a new conninfo ends the suspicion."""
    follow(standby, primary)
    assert [] == daemon.of(REFRESH)
    primary.kill()
    expected = {"source": "primary", "shard": None, "class": "dead"}.items()
    wait_until(  # just after the kill its last processes may say that it is shutting down
        "the report of a dead primary",
        lambda: any(expected <= post.body.items() for post in daemon.of(REFRESH)),
    )

    second = make_neon(name="second")
    standby.configure({"primary_conninfo": second.dsn()})
    standby.reload()
    wait_until("streaming", lambda: standby.value(STREAMING) == 1)
    wait_no_suspicion(standby)
    shown = "SELECT source, state, shard FROM neon_refresh.shards WHERE source = 'primary'"
    assert [("primary", "healthy", None)] == standby.query(shown)


def test_a_promotion_ends_the_suspicion_of_the_old_primary(
    primary: Postgres, standby: Postgres, daemon: DaemonStub
) -> None:
    """Who follows nobody any more has no primary to suspect."""
    follow(standby, primary)
    primary.kill()
    since = "SELECT suspected_since FROM neon_refresh.stat"
    wait_until("suspicion", lambda: standby.value(since))
    assert standby.value("SELECT pg_promote()") is True
    wait_no_suspicion(standby)
    daemon.wait_for(REFRESH)


def test_a_reload_of_a_healthy_standby_is_no_trouble(
    primary: Postgres, standby: Postgres, make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """A changed conninfo ends a healthy walreceiver with 57P01, and nobody is alarmed."""
    second = make_neon(name="second")
    follow(standby, primary)
    start = standby.log_position()
    standby.configure({"primary_conninfo": second.dsn()})
    standby.reload()
    standby.wait_log("terminating walreceiver process due to administrator command", start=start)
    standby.wait_log("started streaming WAL from primary", start=start)
    standby.value("SELECT neon_refresh.request('flush')")
    daemon.wait_for(REFRESH)
    assert ["manual"] == [post.body["source"] for post in daemon.of(REFRESH)]


@pytest.fixture
def stranger() -> Iterator[Postgres]:
    """Return a primary of another cluster."""
    template = Template()
    with Postgres(template, name="stranger") as server:
        yield server.start()
    template.remove()


def test_a_primary_of_another_cluster_is_certainly_wrong(
    stranger: Postgres, standby: Postgres, daemon: DaemonStub
) -> None:
    """A system identifier that differs is certain, whatever failure_threshold says."""
    standby.configure({"primary_conninfo": stranger.dsn(), "neon_refresh.failure_threshold": 1000})
    standby.start()
    body = daemon.wait_for(REFRESH)[0].body
    sqlstate = "55000" if major() >= 14 else "XX000"  # until then it was reported without a code
    expected = {"source": "primary", "class": "wrong", "sqlstate": sqlstate}
    assert {key: body[key] for key in expected} == expected
    certainty = "SELECT certainty FROM neon_refresh.events WHERE source = 'primary'"
    assert "certain" == standby.value(certainty)


def test_a_primary_that_forked_off_within_a_segment(
    primary: Postgres, standby: Postgres, make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """Its stream starts before the fork and ends in good order; only the startup process knows.

    Each turn begins with a stream that starts, which is a success, so only a certain report can
    raise suspicion whatever failure_threshold says.
    """
    second = make_neon(FAST, name="second", start=False)
    (second.data / "standby.signal").touch()
    follow(second, primary)
    standby.configure({"neon_refresh.failure_threshold": 1000})
    follow(standby, primary)
    second.stop()
    primary.query("CREATE TABLE beyond_the_fork (n int)")
    end = primary.value("SELECT pg_current_wal_flush_lsn()")
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{end}'"
    wait_until("the table on the standby", lambda: standby.value(replayed))
    second.configure({"primary_conninfo": None})
    second.start()
    assert second.value("SELECT pg_promote()") is True
    assert [] == daemon.of(REFRESH)

    standby.configure({"primary_conninfo": second.dsn()})
    standby.reload()

    body = daemon.wait_for(REFRESH)[0].body
    assert ("primary", "wrong") == (body["source"], body["class"])
    assert "forked off current database system timeline" in body["text"]
    daemon.wait_for(REFRESH, 2)
    assert not standby.log_contains("is not in this server's history")


def test_a_primary_that_never_answers_is_silent(standby: Postgres, daemon: DaemonStub) -> None:
    """Nobody reports a connection that is never made; the worker sees it in shared memory."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(8)
        standby.configure(
            {"primary_conninfo": f"host=127.0.0.1 port={deaf.getsockname()[1]} user=postgres"}
        )
        standby.start()
        body = daemon.wait_for(REFRESH)[0].body
        assert ("primary", "silent") == (body["source"], body["class"])
        assert body["text"].startswith("no connection to the primary for ")


def test_a_stream_that_falls_silent_is_seen_early(
    primary: Postgres, standby: Postgres, daemon: DaemonStub
) -> None:
    """A frozen primary is suspected before wal_receiver_timeout; an idle one never is."""
    standby.configure({"wal_receiver_timeout": "8s"})
    follow(standby, primary)
    sender = "SELECT pid FROM pg_stat_replication"
    pid = primary.value(sender)
    received = "SELECT last_msg_receipt_time FROM pg_stat_wal_receiver"
    before = standby.value(received)
    wait_until("a sign of life on an idle stream", lambda: standby.value(received) > before)
    assert [] == daemon.of(REFRESH)

    os.kill(pid, signal.SIGSTOP)
    try:
        body = daemon.wait_for(REFRESH)[0].body
        assert ("primary", "silent") == (body["source"], body["class"])
        silent = re.fullmatch(r"no message from the primary for (\d+) ms", body["text"])
        assert silent is not None
        assert 4500 < int(silent[1]) < 8000
    finally:
        os.kill(pid, signal.SIGCONT)
