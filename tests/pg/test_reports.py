"""Trouble that other parts of the server report: beside Neon's library, and from other C code."""

from pathlib import Path

import pytest
from psycopg import errors

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon, MakePageserver
from tests.pg.test_ack import map_hash, markers
from tests.support.daemon_stub import ACK, REFRESH, DaemonStub

LIST = "postgresql://no_user@pageserver-1:6400,postgresql://no_user@pageserver-2:6400"

REPORTS = {
    "connect": ("dead", "08001"),
    "lost": ("dead", "00000"),
    "ended": ("wrong", "00000"),
    "silence": ("silent", "00000"),
    "nonsense": ("nonsense", "00000"),
    "page error": ("wrong", "58030"),
}


@pytest.fixture
def beside(make_neon: MakeNeon, daemon: DaemonStub, fake_neon: Path) -> Postgres:
    """Return a server where another library has defined the settings first."""
    server = make_neon(
        {
            "shared_preload_libraries": f"{fake_neon},neon_refresh",
            "neon_refresh.config_generation": "1.a.b",
            "neon_refresh.safekeeper_suspect_after": "150ms",
        },
        daemon=daemon,
        pageservers=LIST,
    )
    for signature in ("fake_neon_shard(text, int)", "fake_walproposer(bool, text)"):
        server.query(f"CREATE FUNCTION {signature} RETURNS void AS '{fake_neon}' LANGUAGE c")
    return server


def test_the_settings_of_neon_are_left_alone(beside: Postgres, daemon: DaemonStub) -> None:
    """Beside Neon the list is published by the worker, from the bytes of Neon's own setting."""
    assert beside.value("SELECT beside_neon FROM neon_refresh.stat") is True
    assert daemon.wait_for(ACK)[0].body["map_sha256"] == map_hash("1.a.b", 2048, LIST)

    one = LIST.partition(",")[0]
    beside.configure({"neon.pageserver_connstring": one, "neon_refresh.config_generation": "2.a.b"})
    beside.reload()
    wait_until("the ack of 2", lambda: "2.a.b" in markers(daemon))
    assert daemon.of(ACK)[-1].body["map_sha256"] == map_hash("2.a.b", 2048, one)


def test_page_functions_are_neons_beside_neon(beside: Postgres) -> None:
    """Neon's library owns the connections, so ours opens none."""
    with pytest.raises(errors.FeatureNotSupported, match="owns the connections"):
        beside.query("SELECT neon_refresh.read_page('t', 0)")


@pytest.mark.parametrize("case", REPORTS)
def test_reports_of_neons_client_are_suspicion(
    beside: Postgres, daemon: DaemonStub, case: str
) -> None:
    """Each of its messages is recognised, with class and shard, and the daemon is asked."""
    trouble, sqlstate = REPORTS[case]
    with beside.connect() as connection:
        if case == "page error":
            with pytest.raises(errors.IoError):
                connection.execute("SELECT fake_neon_shard(%s, 1)", (case,))
        else:
            connection.execute("SELECT fake_neon_shard(%s, 1)", (case,))
    body = daemon.wait_for(REFRESH)[0].body
    expected = {"source": "pageserver", "shard": 1, "class": trouble, "sqlstate": sqlstate}
    assert {key: body[key] for key in expected} == expected
    assert body["text"].startswith("[NEON_SMGR] [shard 1] ")
    state = "SELECT state FROM neon_refresh.shards WHERE shard = %s"
    assert [beside.value(state, shard) for shard in (0, 1)] == ["unknown", "suspected"]


def test_a_user_cannot_forge_a_report(beside: Postgres, daemon: DaemonStub) -> None:
    """The same words raised in SQL are not a report: the format string differs."""
    text = "[NEON_SMGR] [shard 0] could not connect to pageserver"
    beside.query(f"DO $$ BEGIN RAISE LOG '{text}'; END $$")
    beside.query("SELECT neon_refresh.request('flush')")
    daemon.wait_for(REFRESH)
    assert [post.body["source"] for post in daemon.of(REFRESH)] == ["manual"]


def test_one_safekeeper_must_fail_for_long(beside: Postgres, daemon: DaemonStub) -> None:
    """Several nodes that fail once are routine; the same one for long is suspicion; it ends."""
    for node in ("a", "b", "c"):
        beside.query(f"SELECT fake_walproposer(true, '{node}')")
    beside.query("SELECT neon_refresh.request('flush')")
    assert daemon.wait_for(REFRESH)[0].body["source"] == "manual"

    def fail_again() -> bool:
        beside.query("SELECT fake_walproposer(true, 'b')")
        return any(post.body["source"] == "safekeeper" for post in daemon.of(REFRESH))

    wait_until("suspicion of b", fail_again)
    for node in ("a", "b", "c"):
        beside.query(f"SELECT fake_walproposer(false, '{node}')")
    since = "SELECT suspected_since FROM neon_refresh.stat"
    wait_until("the end of it", lambda: beside.value(since) is None)


def test_a_blind_server_says_so(make_neon: MakeNeon) -> None:
    """With log_min_messages at fatal no report reaches the hook; `blind` shows it."""
    server = make_neon()
    blind = "SELECT blind FROM neon_refresh.stat"
    assert server.value(blind) is False
    with server.connect(options="-c log_min_messages=fatal") as connection:
        assert connection.execute(blind).fetchone() == (False,)  # of this session alone
    server.configure({"log_min_messages": "fatal"})
    server.reload()
    with server.connect(options="-c log_min_messages=warning") as connection:
        wait_until("blind", lambda: connection.execute(blind).fetchone() == (True,))


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
    assert server.value("SELECT 1") == 1


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

    assert server.value("SELECT probe_generation()") == 1
    assert server.value("SELECT probe_trouble('moon', 0, '08006', 'gone')") is False
    assert server.value("SELECT probe_trouble('pageserver', 128, '08006', 'gone')") is False
    assert server.value("SELECT probe_trouble('primary', -1, '08006', 'gone')") is True
    body = daemon.wait_for(REFRESH)[0].body
    expected = {"source": "primary", "shard": None, "sqlstate": "08006", "text": "gone"}
    assert {key: body[key] for key in expected} == expected

    assert server.value("SELECT probe_useful('primary', -1)") is True
    since = "SELECT suspected_since FROM neon_refresh.stat"
    wait_until("the end of it", lambda: server.value(since) is None)


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
    server.wait_log("page reader got a page", timeout=2)
