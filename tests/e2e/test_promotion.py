"""A standby becomes a primary, or stays one that follows."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from compute_common.system.failpoint import VARIABLE
from devstack.daemon import UnixConnection
from devstack.postgres import Template
from devstack.wait import wait_until
from tests.e2e.crashing import crash_at
from tests.e2e.promoting import FAR, Pair, primary
from tests.e2e.test_standby import run_cli

WRITING = ("before-generation", "before-swap", "before-signal", "before-late-generation")
"""Steps of an application that come while a file is written."""


@pytest.fixture
def pair(template: Template) -> Iterator[Pair]:
    """Return a primary and a standby, whose daemon is not started yet."""
    with ExitStack() as stack:
        yield Pair(stack, template)


def is_primary(pair: Pair, work_mem: str = "6MB") -> None:
    """Check that the document of the primary is in force, and nothing is left behind."""
    pair.settles()
    assert not pair.in_recovery
    assert pair.standby.value("show work_mem") == work_mem
    assert pair.standby.value("show primary_conninfo") == ""
    assert pair.standby.value("show primary_slot_name") == ""
    auto = (pair.standby.data / "postgresql.auto.conf").read_text()
    assert [line for line in auto.splitlines() if line and not line.startswith("#")] == []
    pair.standby.query("insert into story values (1000)")


def is_standby(pair: Pair, value: int) -> None:
    """Check that it follows as before."""
    pair.settles()
    assert pair.in_recovery
    assert "primary_conninfo" in pair.live
    pair.follows(value)
    assert pair.standby.value("show work_mem") == "5MB"
    assert pair.standby.value("show synchronous_standby_names") == ""


def test_a_standby_is_promoted(pair: Pair) -> None:
    """It has replayed the log of the old primary, and runs with the document; twice is the same."""
    pair.start()
    pair.primary.query("insert into story values (7)")
    end = pair.primary.value("select pg_current_wal_flush_lsn()::text")
    body = primary(log_min_messages="log") | {"wal_flush_lsn": end}

    code, answer = pair.promote(body)

    assert 200 == code, answer
    times = {"lsn_wait_time_ms", "pg_promote_time_ms", "reconfigure_time_ms"}
    assert {"status", *times} == answer.keys()
    assert "completed" == answer["status"]
    assert answer["pg_promote_time_ms"] > 0
    assert pair.standby.query("select 1 from story where n = 7")
    is_primary(pair)
    status = pair.settles()
    assert ("completed", end) == (pair.promotion["status"], pair.promotion["wal_flush_lsn"])
    assert "2" == status["config"]["desired"]["version"]
    code, again = pair.promote(body)
    assert (200, dict.fromkeys(times, 0) | {"status": "completed"}) == (code, again)
    code, answer = pair.promote(primary(3))
    assert (412, "failed", "postgres is a primary already") == (
        code,
        answer["status"],
        answer["error"],
    )
    assert 1 == pair.daemon.metric("compute_ctl_promotion")


def test_the_source_cannot_turn_it_back(pair: Pair) -> None:
    """A source that still says Replica, or says it anew, takes nothing away from the primary."""
    pair.start(generation=None)
    assert 200 == pair.promote(primary(None))[0]
    assert "unchanged" == pair.daemon.refresh(), "the document that it has brought before"

    pair.publish(pair.replica(None, log_min_messages="log"))
    code, body = pair.daemon.call("POST", "/refresh_configuration?wait=20")

    assert (200, "rejected") == (code, body["outcome"])
    assert "spec.mode: Replica, but this compute is a primary now" == body["reason"]
    is_primary(pair)
    pair.publish(primary(None, log_min_messages="log"))
    assert "applied" == pair.daemon.refresh()


@pytest.mark.parametrize("query", ["?wait=0.3", "?wait=0"])
def test_a_log_that_is_not_reached(pair: Pair, query: str) -> None:
    """Nothing is changed; the next promotion succeeds, with the same document."""
    pair.start()
    generation = pair.daemon.status()["config"]["applied"]["generation"]

    code, answer = pair.promote(primary() | {"wal_flush_lsn": FAR}, query)

    assert (500, "failed") == (code, answer["status"])
    assert f"postgres has not replayed {FAR} within {query[6:]} s: it is at 0/" in answer["error"]
    assert generation == pair.settles()["config"]["applied"]["generation"]
    assert answer["error"] == pair.promotion["error"] == pair.daemon.status()["error"]
    is_standby(pair, 2)
    assert 200 == pair.promote(primary())[0]
    is_primary(pair)


def test_a_push_takes_the_place_of_one_that_waits(pair: Pair) -> None:
    """The caller is told; refreshes go on while it waits."""
    pair.start()
    waiting = pair.promoting(primary() | {"wal_flush_lsn": FAR})
    pair.publish(pair.replica(2, maintenance_work_mem="70MB"))
    assert "applied" == pair.daemon.refresh()
    assert "waiting" == pair.promotion["status"]

    assert 200 == pair.daemon.call("POST", "/configure", pair.replica(3))[0]

    code, answer = waiting.result(30)
    assert (409, "not_promoted") == (code, answer["status"])
    assert "the promotion was superseded by a pushed document" == answer["error"]
    is_standby(pair, 2)


def test_another_promotion_takes_its_place(pair: Pair) -> None:
    """Its caller is told; a caller that hangs up ends nothing."""
    pair.start()
    first = pair.promoting(primary() | {"wal_flush_lsn": FAR})
    lost = UnixConnection(pair.daemon.socket, 30)
    wanted = json.dumps(primary(3))

    lost.request("POST", "/promote", wanted, {"Content-Type": "application/json"})
    wait_until("the other promotion", lambda: pair.promotion["wal_flush_lsn"] is None, 30)
    lost.close()

    assert "superseded by another promotion" in first.result(30)[1]["error"]
    pair.daemon.wait_status("the end", lambda it: it["promotion"]["status"] == "completed")
    is_primary(pair)


def test_the_end_of_the_compute_ends_it(pair: Pair) -> None:
    """The caller is told before the daemon ends."""
    pair.start()
    waiting = pair.promoting(primary() | {"wal_flush_lsn": FAR})

    assert 200 == pair.daemon.call("POST", "/terminate", timeout=60)[0]

    code, answer = waiting.result(30)
    assert (409, "not_promoted") == (code, answer["status"])


def test_a_server_that_refuses(pair: Pair) -> None:
    """Where pg_promote fails, the standby follows with its own settings again."""
    pair.start()
    obstacle = pair.standby.data / "promote"
    obstacle.mkdir()
    body = primary(synchronous_standby_names="nobody")

    code, answer = pair.promote(body)

    assert (500, "failed") == (code, answer["status"])
    assert 'could not create file "promote"' in answer["error"]
    is_standby(pair, 2)
    assert "1" == pair.settles()["config"]["desired"]["version"]
    assert "unchanged" == pair.daemon.refresh()
    obstacle.rmdir()
    assert 200 == pair.promote(primary())[0]
    is_primary(pair)


def test_a_document_that_the_running_server_refuses(pair: Pair) -> None:
    """What only a new session finds is found before the server is a primary."""
    pair.start()

    code, answer = pair.promote(primary(session_preload_libraries="no_such_library"))

    assert (500, "failed") == (code, answer["status"])
    assert "no_such_library" in answer["error"]
    is_standby(pair, 2)
    assert 200 == pair.promote(primary(3))[0]
    is_primary(pair)


@contextmanager
def startup_stopped(pair: Pair) -> Iterator[None]:
    """Stop the process that would promote."""
    query = "select pid from pg_stat_activity where backend_type = 'startup'"
    pid = pair.standby.value(query)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def waits_for_promotion(pair: Pair) -> Future[Any]:
    """Promote; return when pg_promote waits for the process that is stopped."""
    waiting = pair.promoting(primary())
    wait_until(
        "pg_promote",
        lambda: pair.standby.query(
            "select 1 from pg_stat_activity where query ~ '^SELECT pg_prom'"
        ),
        30,
    )
    assert "promoting" == pair.promotion["status"]
    return waiting


def test_what_comes_while_the_server_promotes(pair: Pair) -> None:
    """Another promotion is refused; a push is applied, and then the promoted document is not."""
    pair.start()
    with startup_stopped(pair):
        waiting = waits_for_promotion(pair)
        code, answer = pair.promote(primary(3))
        assert (409, "another promotion is under way") == (code, answer["error"])
        pushed = pair.replica(4, maintenance_work_mem="70MB")
        assert 200 == pair.daemon.call("POST", "/configure", pushed)[0]

    code, answer = waiting.result(60)

    assert (500, "failed") == (code, answer["status"])
    assert "a newer document was taken meanwhile" in answer["error"]
    wait_until("the primary", lambda: not pair.in_recovery, 30)
    assert 200 == pair.daemon.call("POST", "/configure", primary(5))[0]
    is_primary(pair)


def test_a_crash_while_the_server_promotes(pair: Pair) -> None:
    """The next daemon takes the request back, as long as the server has not taken it."""
    pair.start()
    with startup_stopped(pair):
        waits_for_promotion(pair)
        pair.daemon.kill()
        pair.daemon.start()
        pair.settles()
        assert "failed" == pair.promotion["status"]
        assert not (pair.standby.data / "promote").exists()

    is_standby(pair, 2)
    assert 200 == pair.promote(primary(3))[0]
    is_primary(pair)


def test_documents_that_are_refused(pair: Pair) -> None:
    """By the checks and by the server's binary, before anything is written; older ones, too."""
    pair.start(generation=4)
    before = pair.live
    for code, wanted, said in (
        (422, pair.replica(5), "spec.mode: expected Primary for a promotion, got Replica"),
        (422, {"spec": {"cluster": 7}}, "spec.cluster"),
        (409, primary(3), "version 3 is older than 4"),
        (422, primary(5) | {"wal_flush_lsn": "7"}, "wal_flush_lsn: expected a position"),
        (500, primary(5, work_mem="a lot"), "work_mem"),
    ):
        got, answer = pair.promote(wanted)
        assert code == got, answer
        assert said in answer["error"]
        assert before == pair.live
    is_standby(pair, 2)


def test_the_document_in_force_as_a_primary_s(pair: Pair) -> None:
    """`compute_ctl promote` without a file needs nothing but the standby."""
    pair.start()

    done = run_cli("promote", "-D", str(pair.standby.data))

    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith("postgres is a primary after ")
    is_primary(pair, work_mem="5MB")
    assert "stale" != pair.daemon.refresh()
    is_primary(pair, work_mem="5MB")
    assert 1 == run_cli("promote", "-D", str(pair.standby.data), str(pair.config)).returncode


def crash(pair: Pair, step: str) -> None:
    """Have the daemon die at *step* of a promotion."""
    pair.daemon.stop()
    pair.daemon.env[VARIABLE] = step
    pair.daemon.start()
    child = pair.daemon.child
    assert child is not None
    with suppress(OSError, http.client.HTTPException):
        pair.promote(primary(synchronous_standby_names="", log_min_messages="log"))
    assert -9 == wait_until("the crash", child.poll, 60)
    del pair.daemon.env[VARIABLE]


@pytest.mark.parametrize("step", [*WRITING, "before-promote"])
def test_a_crash_before_the_promotion(pair: Pair, step: str) -> None:
    """The next daemon leaves a standby that follows as before; a promotion succeeds."""
    pair.start()
    crash(pair, step)

    pair.daemon.start()

    is_standby(pair, 2)
    assert "1" == pair.settles()["config"]["applied"]["version"]
    assert "unchanged" == pair.daemon.refresh()
    assert 200 == pair.promote(primary())[0]
    is_primary(pair)


@pytest.mark.parametrize("step", ["", *WRITING])
def test_a_crash_after_the_promotion(pair: Pair, step: str) -> None:
    """The next daemon brings the document into force, and so does the one after it."""
    pair.start()
    crash(pair, "after-promote")
    if step:
        crash_at(pair.daemon, step)

    pair.daemon.start()

    is_primary(pair)
    assert "2" == pair.settles()["config"]["applied"]["version"]
    assert "stale" == pair.daemon.refresh()
    is_primary(pair)
