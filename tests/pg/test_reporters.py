"""Every process may report: sessions, auxiliary processes, other C code."""

from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon, MakePageserver
from tests.pg.neon_reports import REFUSED, tell
from tests.pg.queries import wait_no_suspicion
from tests.support.daemon_stub import REFRESH, DaemonStub


def test_a_walsender_that_runs_queries_is_heard(beside: Postgres, daemon: DaemonStub) -> None:
    """A session with replication=database reads pages too."""
    with beside.connect(replication="database") as session:
        tell(session, "refused", 1, REFUSED.format(2, 2))
    assert 1 == daemon.wait_for(REFRESH)[0].body["shard"]


@pytest.mark.parametrize("kind", ["autovacuum launcher", "background writer", "checkpointer"])
def test_processes_without_a_session_are_heard(
    beside: Postgres, daemon: DaemonStub, kind: str
) -> None:
    """They read pages too, for instance of the catalogs, and their reports raise suspicion."""
    beside.configure({"autovacuum": True})
    beside.reload()
    process = "SELECT pid FROM pg_stat_activity WHERE backend_type = %s"
    pid = wait_until("the process", lambda: beside.value(process, kind))
    beside.configure({"fake_neon.report_in": kind})
    beside.reload()

    assert 1 == daemon.wait_for(REFRESH)[0].body["shard"]
    assert [(pid,)] == beside.query("SELECT pid FROM neon_refresh.events WHERE shard = 1")


def test_after_a_crash_the_daemon_is_asked_once(beside: Postgres, daemon: DaemonStub) -> None:
    """A PANIC takes shared memory and all suspicion with it."""
    with beside.connect() as session, suppress(psycopg.Error):
        tell(session, "panic", 1, "x")
    text = "the server has restarted after a crash"
    wait_until("a request", lambda: text in [post.body["text"] for post in daemon.of(REFRESH)])


def test_the_syslogger_runs_our_hook_unharmed(make_neon: MakeNeon) -> None:
    """A collector that cannot write reports from a process without shared memory."""
    server = make_neon(
        {"logging_collector": True, "log_directory": "collected", "log_filename": "a.log"}
    )
    wait_until("a log file", (server.data / "collected" / "a.log").exists)
    server.query("SELECT pg_rotate_logfile()")
    (server.data / "collected" / "a.log").unlink()
    (server.data / "collected").rename(server.data / "elsewhere")
    server.query("SELECT pg_rotate_logfile()")
    server.wait_log('could not open log file "collected/a.log"')
    assert 1 == server.value("SELECT 1")


def test_other_code_may_report_and_look(
    make_neon: MakeNeon, daemon: DaemonStub, probe: Path
) -> None:
    """Through the rendezvous variable C code raises and ends suspicion, and sees generations."""
    server = make_neon(daemon=daemon, pageservers="host=127.0.0.1 port=1")
    for signature, result in (
        ("probe_trouble(text, int, text, text)", "bool"),
        ("probe_useful(text, int)", "bool"),
        ("probe_generation()", "bigint"),
    ):
        server.query(f"CREATE FUNCTION {signature} RETURNS {result} AS '{probe}' LANGUAGE c")

    assert 1 == server.value("SELECT probe_generation()")
    assert server.value("SELECT probe_trouble('moon', 0, '08006', 'gone')") is False
    assert server.value("SELECT probe_trouble('pageserver', 128, '08006', 'gone')") is False
    assert server.value("SELECT probe_trouble('primary', -1, '08006', 'gone')") is True
    body = daemon.wait_for(REFRESH)[0].body
    expected = {"source": "primary", "shard": None, "sqlstate": "08006", "text": "gone"}
    assert {key: body[key] for key in expected} == expected

    assert server.value("SELECT probe_useful('primary', -1)") is True
    wait_no_suspicion(server)


def test_a_process_that_ignores_reloads_is_rescued(
    make_neon: MakeNeon, make_pageserver: MakePageserver, probe: Path
) -> None:
    """A background worker gets no signal at a reload, and still finds the new map."""
    good = make_pageserver()
    server = make_neon(pageservers="host=127.0.0.1 port=1")
    server.query(f"CREATE FUNCTION probe_start_reader(text) RETURNS bool AS '{probe}' LANGUAGE c")
    assert server.value("SELECT probe_start_reader(%s)", str(probe)) is True
    server.wait_log("page reader begins")
    events = "SELECT events_total FROM neon_refresh.stat"
    wait_until("failures", lambda: server.value(events) > 5)
    server.configure({"neon.pageserver_connstring": good.url})
    server.reload()
    server.wait_log("page reader got a page")
