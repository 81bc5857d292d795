"""Every wait of a page request can be ended: by cancel, by stop, by a new map, by its limit."""

import socket
import time
from collections.abc import Iterator

import pytest
from psycopg import errors

from devstack.launch import Pageserver
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon, MakePageserver
from tests.pg.queries import Blocked, end_at_limit, suspected
from tests.support.daemon_stub import REFRESH, DaemonStub

READ = "SELECT length(neon_refresh.read_page('t', 0))"
PAGE = [(8192,)]
SILENT_PHASES = ["accept", "startup", "pagestream", "response"]
PATIENT = {
    "neon_refresh.connect_timeout": "60s",
    "neon_refresh.request_timeout": "60s",
    "neon_refresh.response_suspect_after": "60s",
}
"""Settings that end no wait, so what else ends it must have been noticed."""
AT_ONCE_S = 15.0
"""Far less than those, and enough for a machine that is busy with much else."""


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address whose queue of connections is full: a connect is never answered."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"host=127.0.0.1 port={listener.getsockname()[1]}"


@pytest.fixture(params=["dead", "deaf", "unresolved", *SILENT_PHASES])
def blocked_in(request: pytest.FixtureRequest, deaf: str, make_pageserver: MakePageserver) -> str:
    """A conninfo on which a request blocks, in each of the waits there are."""
    if request.param == "dead":
        return "host=127.0.0.1 port=1"
    if request.param == "deaf":
        return deaf
    if request.param == "unresolved":
        return "host=no-such-host.invalid"
    pageserver = make_pageserver()
    pageserver.admin.set_fault("silent", phase=request.param)
    return pageserver.url


def test_cancel_ends_the_wait_at_once(make_neon: MakeNeon, blocked_in: str) -> None:
    """pg_cancel_backend ends a request in any wait, and the session goes on."""
    server = make_neon(PATIENT, pageservers=blocked_in)
    with Blocked(server, READ) as query:
        query.wait_blocked()
        begin = time.monotonic()
        query.cancel()
        with pytest.raises(errors.QueryCanceled):
            query.join()
        assert time.monotonic() - begin < AT_ONCE_S
        assert (1,) == query.connection.execute("SELECT 1").fetchone()


def test_statement_timeout_ends_the_wait(make_neon: MakeNeon, blocked_in: str) -> None:
    """statement_timeout works in any wait."""
    server = make_neon(PATIENT, pageservers=blocked_in)
    with Blocked(server, READ, options="-c statement_timeout=300ms") as query:
        with pytest.raises(errors.QueryCanceled):
            query.join()
        assert query.seconds < AT_ONCE_S


def test_fast_stop_is_not_held_up(make_neon: MakeNeon, daemon: DaemonStub, blocked_in: str) -> None:
    """With a request in any wait and the daemon hung, a fast stop waits for neither."""
    daemon.hang()
    server = make_neon(PATIENT, daemon=daemon, pageservers=blocked_in)
    with Blocked(server, READ) as query:
        query.wait_blocked()
        assert server.stop("fast") < AT_ONCE_S
        assert query.error is not None or not query.done


def test_a_new_map_rescues_the_wait(
    make_neon: MakeNeon, make_pageserver: MakePageserver, blocked_in: str
) -> None:
    """A reload with a good endpoint ends any wait at once, without an error to the client."""
    good = make_pageserver()
    server = make_neon(PATIENT, pageservers=blocked_in)
    with Blocked(server, READ) as query:
        query.wait_blocked()
        server.configure({"neon.pageserver_connstring": good.url})
        begin = time.monotonic()
        server.reload()
        assert PAGE == query.join()
        assert time.monotonic() - begin < AT_ONCE_S


def detail_at_limit(server: Postgres, limit: str, met: str) -> str:
    """Return the detail of the error of a request that ends at its limit.

    *met* is a condition on `neon_refresh.stat`; once it is true the request gets its limit.
    """
    server.configure({"neon_refresh.query_cancel_after": 0})
    server.reload()
    shown = "SELECT current_setting('neon_refresh.query_cancel_after')"
    wait_until("no limit", lambda: server.value(shown) == "0")
    events = server.value("SELECT events_total FROM neon_refresh.stat")
    seen = f"SELECT events_total > {events} AND {met} FROM neon_refresh.stat"
    with Blocked(server, READ) as query:
        wait_until("failures, and what is told of the daemon", lambda: server.value(seen))
        end_at_limit(server, limit)
        with pytest.raises(errors.ConnectionFailure) as caught:
            query.join()
    assert caught.value.diag.message_hint
    return caught.value.diag.message_detail or ""


def test_the_limit_ends_the_wait(make_neon: MakeNeon, daemon: DaemonStub, blocked_in: str) -> None:
    """After query_cancel_after a request ends in 08006 that says what was tried."""
    server = make_neon(
        {
            "neon_refresh.query_cancel_after": "700ms",
            "neon_refresh.connect_timeout": "200ms",
            "neon_refresh.response_suspect_after": "200ms",
        },
        daemon=daemon,
        pageservers=blocked_in,
    )
    with Blocked(server, READ) as query:
        with pytest.raises(errors.ConnectionFailure, match="shard 0 within 700 ms"):
            query.join()
        assert 0.7 <= query.seconds < AT_ONCE_S
    detail = detail_at_limit(server, "700ms", "last_result = 'HTTP 200'")
    assert "Failures of this request: 0" not in detail
    assert "The daemon answered the last request with status 200." in detail
    assert daemon.of(REFRESH)


@pytest.mark.parametrize("trouble", ["hang", "refuse", "503"])
def test_the_limit_needs_no_daemon(
    make_neon: MakeNeon, make_pageserver: MakePageserver, daemon: DaemonStub, trouble: str
) -> None:
    """A misrouted request suffers no longer, whatever the daemon does or does not."""
    pageserver = make_pageserver()
    pageserver.admin.set_tenant("secondary")
    said = {
        "hang": "The last request to the daemon failed: timeout expired.",
        "refuse": "The last request to the daemon failed: connection refused.",
        "503": "The daemon answered the last request with status 503.",
    }
    if trouble == "503":
        daemon.statuses[REFRESH] = 503
    else:
        getattr(daemon, trouble)()
    settings = {"neon_refresh.query_cancel_after": "500ms", "neon_refresh.request_timeout": "50ms"}
    server = make_neon(settings, daemon=daemon, pageservers=pageserver.url)
    with Blocked(server, READ) as query:
        with pytest.raises(errors.ConnectionFailure, match="shard 0 within 500 ms"):
            query.join()
        assert 0.5 <= query.seconds < AT_ONCE_S
    if trouble == "503":  # its answer takes no longer than this, or it would be a timeout
        server.configure({"neon_refresh.request_timeout": "20s"})
    reason = {"hang": "%timeout%", "refuse": "%refused%", "503": "%503%"}[trouble]
    detail = detail_at_limit(server, "500ms", f"last_result LIKE '{reason}'")
    assert "the last in phase response: reconnect, SQLSTATE 08006." in detail
    assert said[trouble] in detail


def test_the_limit_may_be_lifted_and_set_while_a_query_waits(
    make_neon: MakeNeon, deaf: str
) -> None:
    """A running statement sees the limit change, though it sees no new setting."""
    server = make_neon({"neon_refresh.query_cancel_after": 0}, pageservers=deaf)
    with Blocked(server, READ) as query:
        query.wait_blocked()
        server.configure({"neon_refresh.query_cancel_after": "10ms"})
        server.reload()
        with pytest.raises(errors.ConnectionFailure, match="within 10 ms"):
            query.join()


def test_silence_is_suspected_and_endured(
    make_neon: MakeNeon, make_pageserver: MakePageserver, daemon: DaemonStub
) -> None:
    """A silent pageserver raises suspicion, but an answer that comes late is taken."""
    pageserver = make_pageserver()
    server = make_neon(
        {"neon_refresh.response_suspect_after": "100ms"},
        daemon=daemon,
        pageservers=pageserver.url,
    )
    connection = server.connect()
    connection.execute(READ)
    pageserver.pause()
    with Blocked(server, READ, connection=connection) as query:
        post = daemon.wait_for(REFRESH)[0]
        assert ("silent", 0) == (post.body["class"], post.body["shard"])
        assert not query.done
        pageserver.resume()
        assert PAGE == query.join()
    assert "silent" == suspected(server)[0]
    state = "SELECT state FROM neon_refresh.shards"
    wait_until("health", lambda: server.value(state) == "healthy")


def test_long_silence_is_logged_and_ends_the_connection(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """Neon's own silence timers work: a log line first, then a new connection."""
    pageserver = make_pageserver()
    server = make_neon(
        {
            "neon.pageserver_response_log_timeout": "100ms",
            "neon.pageserver_response_disconnect_timeout": "1s",
        },
        pageservers=pageserver.url,
    )
    pageserver.admin.set_fault("silent", phase="response", count=1)
    with Blocked(server, READ) as query:
        assert PAGE == query.join()
        assert query.seconds >= 1
    assert server.log_contains(r"no response received from pageserver of shard 0 for [0-9.]+ s")
    assert 2 == pageserver.admin.stats()["connections"]["total"]


def test_a_cancelled_exchange_drops_the_connection(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """The late answer to a cancelled request is never taken for the next one's."""
    pageserver = make_pageserver()
    server = make_neon(pageservers=pageserver.url)
    pageserver.admin.set_fault("slow", phase="response", delay_ms=1000, count=1)
    with Blocked(server, READ) as query:
        query.wait_blocked()
        query.cancel()
        with pytest.raises(errors.QueryCanceled):
            query.join()
        same = query.connection.execute(
            "SELECT neon_refresh.read_page('t', 5) = get_raw_page('t', 5)"
        ).fetchone()
        assert (True,) == same
    assert 2 == pageserver.admin.stats()["connections"]["total"]


def test_only_shards_whose_endpoint_changed_reconnect(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """A new list for one of two shards leaves the connection of the other alone."""
    a = make_pageserver(stripe_size=8)
    b = make_pageserver(stripe_size=8)
    c = make_pageserver(stripe_size=8)
    server = make_neon({"neon.stripe_size": 8}, pageservers=f"{a.url},{b.url}")
    read_all = "SELECT count(neon_refresh.read_page('t', n)) FROM generate_series(0, 99) n"

    def connections(pageserver: Pageserver) -> int:
        total: int = pageserver.admin.stats()["connections"]["total"]
        return total

    with server.connect() as connection:
        connection.execute(read_all)
        server.configure({"neon.pageserver_connstring": f"{a.url},{c.url}"})
        server.reload()
        wait_until(
            "generation 2",
            lambda: server.value("SELECT map_generation FROM neon_refresh.stat") == 2,
        )
        connection.execute(read_all)
    assert [1, 1, 1] == [connections(a), connections(b), connections(c)]


@pytest.mark.parametrize(
    ("phase", "setting"),
    [("accept", "connect_timeout"), ("response", "response_suspect_after")],
)
def test_a_shorter_patience_is_heeded_by_who_waits(
    make_neon: MakeNeon,
    make_pageserver: MakePageserver,
    daemon: DaemonStub,
    phase: str,
    setting: str,
) -> None:
    """A reload that shortens a deadline reaches a request that waits already."""
    pageserver = make_pageserver()
    pageserver.admin.set_fault("silent", phase=phase)
    server = make_neon(
        {f"neon_refresh.{setting}": "60s"}, daemon=daemon, pageservers=pageserver.url
    )
    with Blocked(server, READ) as query:
        query.wait_blocked()
        assert [] == daemon.of(REFRESH)
        server.configure({f"neon_refresh.{setting}": "100ms"})
        server.reload()
        assert "silent" == daemon.wait_for(REFRESH)[0].body["class"]
