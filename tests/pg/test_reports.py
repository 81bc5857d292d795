"""Trouble that Neon's library reports."""

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from psycopg import errors

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.pg.neon_reports import (
    CLOSED,
    LIST,
    NOT_FOUND,
    ONE,
    REFUSED,
    TWO,
    sources,
    state,
    tell,
)
from tests.pg.queries import Blocked, wait_no_suspicion
from tests.pg.test_ack import map_hash, markers
from tests.support.daemon_stub import ACK, REFRESH, DaemonStub

# form, value, then what it must be taken for: class and SQLSTATE
REPORTS = {
    "refused": (REFUSED.format(2, 2), "dead", "00000"),
    "login": ("connection to server failed: ERROR:  JWT authentication error", "wrong", "00000"),
    "handshake": (CLOSED, "dead", "00000"),
    "silence": ("", "silent", "00000"),
    "nonsense": ("", "nonsense", "00000"),
    "page error": (NOT_FOUND, "wrong", "58030"),
}


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
    value, trouble, sqlstate = REPORTS[case]
    with beside.connect() as connection:
        tell(connection, "refused" if case == "login" else case, 1, value)
    body = daemon.wait_for(REFRESH)[0].body
    expected = {"source": "pageserver", "shard": 1, "class": trouble, "sqlstate": sqlstate}
    assert {key: body[key] for key in expected} == expected
    assert body["text"].startswith("[NEON_SMGR] [shard 1")
    assert ["unknown", "suspected"] == [state(beside, shard) for shard in (0, 1)]


def test_an_error_without_a_shard_is_of_shard_0(beside: Postgres, daemon: DaemonStub) -> None:
    """Requests for sizes go to shard 0, and Neon's report of them names none."""
    with beside.connect() as connection:
        tell(connection, "size error", 1, NOT_FOUND)
    assert 0 == daemon.wait_for(REFRESH)[0].body["shard"]


@pytest.mark.parametrize("form", ["ended", "lost", "send"])
def test_an_idle_stream_that_ends_is_no_trouble(
    beside: Postgres, daemon: DaemonStub, form: str
) -> None:
    """Many sessions whose streams end, each reported twice, and that reconnect: no request."""
    reports = (("connected", TWO), (form, CLOSED), ("ended", CLOSED), ("connected", TWO))
    told = ", ".join(f"fake_neon_shard('{name}', 1, '{value}')" for name, value in reports)
    with ExitStack() as stack:
        for _ in range(5):  # at once: a pause before the reconnect would be trouble
            stack.enter_context(beside.connect()).execute(f"SELECT {told}".encode())
    assert ["manual"] == sources(beside, daemon)
    assert "unknown" == state(beside, 1)


@pytest.mark.parametrize(
    ("then", "value", "trouble"),
    [("refused", REFUSED.format(2, 2), "dead"), ("connected", TWO, "wrong"), ("", "", "dead")],
)
def test_the_end_of_a_stream_is_trouble_by_what_follows(
    beside: Postgres, daemon: DaemonStub, then: str, value: str, trouble: str
) -> None:
    """A reconnect that fails, one whose stream ends again, or none at all: the daemon is asked."""
    with beside.connect() as session:
        tell(session, "connected", 1, TWO)
        tell(session, "ended", 1, CLOSED if trouble == "dead" else "")
        if then:
            tell(session, then, 1, value)
        if then == "connected":
            tell(session, "ended", 1)
        body = daemon.wait_for(REFRESH)[0].body
    assert (body["source"], body["shard"], body["class"]) == ("pageserver", 1, trouble)


def move(server: Postgres, daemon: DaemonStub, pageservers: str, marker: str) -> None:
    """Bring in a new list, and wait until the worker has published it."""
    server.configure(
        {"neon.pageserver_connstring": pageservers, "neon_refresh.config_generation": marker}
    )
    server.reload()
    wait_until("the ack", lambda: marker in markers(daemon))


def test_late_reports_of_the_old_endpoint_renew_nothing(
    beside: Postgres, daemon: DaemonStub
) -> None:
    """After a heal Neon's client tries the old endpoint once more; what it says is over."""
    with beside.connect() as attempting, beside.connect() as shaking, beside.connect() as open_:
        tell(open_, "connected", 1, TWO)
        tell(shaking, "handshake", 1, CLOSED)
        tell(attempting, "refused", 1, REFUSED.format(2, 2))
        daemon.wait_for(REFRESH)
        move(beside, daemon, f"{ONE},{TWO.replace('-2', '-3')}", "2.a.b")
        tell(attempting, "refused", 1, REFUSED.format(2, 2))
        tell(shaking, "handshake", 1, CLOSED)
        tell(open_, "ended", 1, CLOSED)
        asked = len(daemon.of(REFRESH))
        assert ["manual"] == sources(beside, daemon)[asked:]
        assert beside.value("SELECT suspected_since FROM neon_refresh.stat") is None
        # the new one is heard at once
        tell(attempting, "refused", 1, REFUSED.format(3, 3))
        asked = len(daemon.of(REFRESH))
        assert daemon.wait_for(REFRESH, asked)[-1].body["text"].count("pageserver-3") <= 1
        wait_until("suspicion", lambda: state(beside, 1) == "suspected")


def test_reports_of_a_shard_that_is_gone_count_no_more(
    beside: Postgres, daemon: DaemonStub
) -> None:
    """After the list has become shorter nothing is suspected that no view shows."""
    with beside.connect() as session:
        tell(session, "refused", 1, REFUSED.format(2, 2))
        daemon.wait_for(REFRESH)
        move(beside, daemon, ONE, "2.a.b")
        tell(session, "refused", 1, REFUSED.format(2, 2))
        assert "manual" == sources(beside, daemon)[-1]
    assert state(beside, 1) is None
    assert beside.value("SELECT suspected_since FROM neon_refresh.stat") is None


def test_success_of_neons_client_ends_suspicion(beside: Postgres, daemon: DaemonStub) -> None:
    """An answer after silence ends it; so does a connection that nobody's failure follows."""
    since = "SELECT suspected_since FROM neon_refresh.stat"
    with beside.connect() as session:
        tell(session, "connected", 1, TWO)
        tell(session, "silence", 1)
        daemon.wait_for(REFRESH)
        tell(session, "response", 1)
        wait_no_suspicion(beside)
        tell(session, "refused", 1, REFUSED.format(2, 2))
        wait_until("suspicion", lambda: beside.value(since) is not None)
        tell(session, "connected", 1, TWO)
        wait_no_suspicion(beside)


def test_a_server_without_a_port_says_so_and_takes_an_endpoint(
    make_neon: MakeNeon, daemon: DaemonStub, fake_neon: Path
) -> None:
    """Neon's port needs a restart; neon_refresh.endpoint does not."""
    server = make_neon({"shared_preload_libraries": f"{fake_neon},neon_refresh"}, pageservers=LIST)
    server.query(
        f"CREATE FUNCTION fake_neon_shard(text, int, text) RETURNS void AS '{fake_neon}' LANGUAGE c"
    )
    line = "no address of the daemon is set"
    last = "SELECT daemon_configured, last_result FROM neon_refresh.stat"
    with server.connect() as session:
        for _ in range(5):
            tell(session, "refused", 1, REFUSED.format(2, 2))
            server.wait_log(line)
        assert 1 == server.log_contains(line)
        assert [(False, "no address of a daemon is set")] == server.query(last)
        server.configure({"neon_refresh.endpoint": daemon.endpoint})
        server.reload()
        assert 1 == daemon.wait_for(REFRESH)[0].body["shard"]


def test_the_wrong_order_of_libraries_is_refused_with_a_hint(
    make_neon: MakeNeon, fake_neon: Path
) -> None:
    """neon_refresh in front of neon ends the start, and says how it must be."""
    neon = shutil.copy(fake_neon, fake_neon.with_name("neon.so"))
    server = make_neon(
        {"shared_preload_libraries": f"neon_refresh,{neon}"}, pageservers=LIST, start=False
    )
    with pytest.raises(Exception):  # noqa: B017, PT011 - the log tells
        server.start()
    assert server.log_contains("neon_refresh must stand behind neon in shared_preload_libraries")
    assert server.log_contains("Use shared_preload_libraries = 'neon,neon_refresh'")


def test_failures_far_apart_are_no_row(make_neon: MakeNeon) -> None:
    """failure_threshold counts what comes together, not what comes days apart."""
    server = make_neon(
        {
            "neon_refresh.failure_threshold": 1000,
            "neon_refresh.connect_timeout": "10ms",
            "neon_refresh.response_suspect_after": "10ms",
        },
        pageservers="host=127.0.0.1 port=1",
    )
    shards = "FROM neon_refresh.shards"
    last = f"SELECT last_error_at < clock_timestamp() - '2.1 s'::interval {shards}"
    failed = f"SELECT coalesce(failing_since > %s, false) {shards}"
    events = "SELECT events_total FROM neon_refresh.stat"
    rows, totals = [], []
    for _ in range(2):
        before = server.value("SELECT clock_timestamp()")
        totals.append(server.value(events))
        with Blocked(server, "SELECT neon_refresh.read_page('t', 0)") as query:
            wait_until("a failure", partial(server.value, failed, before))
            query.cancel()
            with pytest.raises(errors.QueryCanceled):
                query.join()
        rows += server.query(f"SELECT failing_since, consecutive_failures {shards}")
        wait_until("a pause", lambda: server.value(last))
    (first, _), (second, failed_again) = rows
    assert (second - first).total_seconds() > 2
    assert failed_again <= server.value(events) - totals[1]  # of one row, not of both


def test_repeated_reports_are_counted_at_one_place(beside: Postgres, daemon: DaemonStub) -> None:
    """Dead safekeepers do not push everything else out of the ring; a success begins anew."""
    beside.value("SELECT neon_refresh.request('first of all')")
    fail = "SELECT fake_walproposer(true, %s) FROM generate_series(1, 100)"
    with beside.connect() as session:
        for node in ("a", "b", "c"):
            session.execute(fail, (node,))
        session.execute("SELECT fake_walproposer(false, 'b')")
        session.execute(fail, ("b",))
    rows = "SELECT source, class, repeats, last_at >= at FROM neon_refresh.events ORDER BY number"
    assert beside.query(rows) == [
        ("manual", "none", 0, True),
        *[("safekeeper", "dead", 99, True)] * 3,
        ("safekeeper", "useful", 0, True),
        ("safekeeper", "dead", 99, True),
    ]
    total, lost = beside.query("SELECT events_total, events_lost FROM neon_refresh.stat")[0]
    assert (402, 0) == (total, lost)
    assert "first of all" == daemon.wait_for(REFRESH)[0].body["text"]


def test_a_dropped_event_holds_back_nobody(
    beside: Postgres, daemon: DaemonStub, busy_slot: Path
) -> None:
    """An event that found its slot taken is counted as lost; those behind it are looked at."""
    beside.query(f"CREATE FUNCTION busy_slot(bigint) RETURNS bigint AS '{busy_slot}' LANGUAGE c")
    number = beside.value("SELECT busy_slot(0)")
    beside.query("SELECT fake_walproposer(true, 'a')")
    beside.query(f"SELECT busy_slot({number})")
    assert 1 == beside.value("SELECT events_lost FROM neon_refresh.stat")

    def asked() -> bool:
        beside.query("SELECT fake_walproposer(true, 'b')")
        return bool(daemon.of(REFRESH))

    wait_until("a request about the other safekeeper", asked)
    assert "node 'b:5454'" in daemon.of(REFRESH)[0].body["text"]
