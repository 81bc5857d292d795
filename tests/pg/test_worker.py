"""The life of the refresh worker."""

import os
import signal
import time
from pathlib import Path

import pytest
from psycopg import errors

from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon, MakePageserver
from tests.pg.queries import Blocked
from tests.support.daemon_stub import REFRESH, DaemonStub

WORKER = "SELECT worker_pid FROM neon_refresh.stat"
DEAD = "host=127.0.0.1 port=1"


def worker_title(pid: int) -> str:
    """The process title as ps shows it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").decode()


def test_the_worker_is_seen_by_pid_title_and_age(make_neon: MakeNeon) -> None:
    """It has no database connection, so the view and the process list show it."""
    server = make_neon()
    pid = wait_until("the worker", lambda: server.value(WORKER))

    assert "postgres: neon refresh worker" == worker_title(pid)
    assert 0 == server.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid)
    seen = "SELECT worker_title, worker_age < interval '1 min' AND worker_age > interval '0', "
    seen += "worker_since > now() - interval '1 min' FROM neon_refresh.stat"
    assert [("postgres: neon refresh worker", True, True)] == server.query(seen)


def test_the_title_of_a_named_cluster(make_neon: MakeNeon) -> None:
    """cluster_name stands in the process title, and in the view."""
    server = make_neon({"cluster_name": "blue"})
    title = wait_until(
        "the worker", lambda: server.value("SELECT worker_title FROM neon_refresh.stat")
    )
    assert "postgres: blue: neon refresh worker" == title
    assert worker_title(server.value(WORKER)) == title


def test_a_request_in_flight_is_seen(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """The view tells that the daemon has a request and has not answered."""
    server = make_neon({"neon_refresh.request_timeout": "60s"}, daemon=daemon)
    in_flight = "SELECT request_in_flight FROM neon_refresh.stat"
    assert server.value(in_flight) is False
    daemon.hang()
    server.value("SELECT neon_refresh.request('now')")
    daemon.wait_for(REFRESH)
    assert server.value(in_flight) is True
    daemon.answer()
    wait_until("the answer", lambda: server.value(in_flight) is False)


def test_sigterm_in_mid_request_ends_it_at_once(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """While the daemon leaves a request unanswered, SIGTERM ends the worker; it comes back."""
    server = make_neon({"neon_refresh.request_timeout": "60s"}, daemon=daemon)
    daemon.hang()
    server.value("SELECT neon_refresh.request('now')")
    daemon.wait_for(REFRESH)
    before = server.value(WORKER)

    begin = time.monotonic()
    os.kill(before, signal.SIGTERM)
    server.wait_log(rf'"neon refresh worker" \(PID {before}\) exited with exit code 1')
    assert time.monotonic() - begin < 15  # the request may take 60 s

    after = wait_until("a new worker", lambda: server.value(WORKER))
    assert after != before


def test_a_manual_request_carries_its_reason(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """request() posts once, with a text that is redacted, valid JSON and at most 200 bytes."""
    server = make_neon({"neon_refresh.config_generation": "4.a.b"}, daemon=daemon)
    reason = 'say "ü"\\\n password=hunter2 ' + "x" * 300
    assert server.value("SELECT neon_refresh.request(%s)", reason) is True
    post = daemon.wait_for(REFRESH)[0]

    text = post.body.pop("text")
    expected = {
        "source": "manual",
        "shard": None,
        "class": "none",
        "sqlstate": "",
        "count": 1,
    }
    assert expected == {key: post.body[key] for key in expected}
    assert text.startswith('say "ü"\\  password=*** ')
    assert len(text.encode()) <= 200
    done = "SELECT requests_total, last_result FROM neon_refresh.stat"
    wait_until("the answer", lambda: server.query(done) == [(1, "HTTP 200")])


def test_text_of_another_encoding_is_valid_json(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """Bytes that are not UTF-8 become question marks."""
    server = make_neon(daemon=daemon)
    server.query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with server.connect(dbname="latin") as connection:
        connection.execute("CREATE EXTENSION neon_refresh")
        connection.execute("SELECT neon_refresh.request(chr(252) || 'ber')")

    assert "?ber" == daemon.wait_for(REFRESH)[0].body["text"]


def test_the_daemon_may_be_on_a_unix_socket(make_neon: MakeNeon) -> None:
    """An endpoint unix:/path works like loopback."""
    server = make_neon(start=False)
    with DaemonStub(server.folder / "ctl.sock") as daemon:
        server.configure({"neon_refresh.endpoint": daemon.endpoint})
        server.start()
        server.value("SELECT neon_refresh.request('over a socket')")
        assert "over a socket" == daemon.wait_for(REFRESH)[0].body["text"]


def test_the_daemon_may_be_at_neons_port(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """Without an endpoint the daemon is at neon.extension_server_port."""
    server = make_neon({"neon.extension_server_port": daemon.port})
    server.value("SELECT neon_refresh.request('by port')")

    assert "by port" == daemon.wait_for(REFRESH)[0].body["text"]


def test_no_daemon_means_no_request_but_suspicion(make_neon: MakeNeon) -> None:
    """With neither endpoint nor port suspicion is visible, and nothing is sent."""
    server = make_neon(pageservers=DEAD)
    with Blocked(server, "SELECT neon_refresh.read_page('t', 0)") as query:
        query.wait_blocked()
        state = "SELECT s.state, x.suspected_since IS NOT NULL, x.requests_total, "
        state += "x.daemon_configured FROM neon_refresh.shards s, neon_refresh.stat x"
        wait_until("suspicion", lambda: server.query(state)[0] == ("suspected", True, 0, False))
    assert server.value("SELECT neon_refresh.request('in vain')") is False


def test_disabled_means_no_request(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """`enabled = off` keeps the suspicion to the view; turning it on asks at once."""
    server = make_neon({"neon_refresh.enabled": False}, daemon=daemon, pageservers=DEAD)
    with Blocked(server, "SELECT neon_refresh.read_page('t', 0)") as query:
        query.wait_blocked()
        since = "SELECT suspected_since FROM neon_refresh.stat"
        wait_until("suspicion", lambda: server.value(since))
        assert [] == daemon.of(REFRESH)
        server.configure({"neon_refresh.enabled": True})
        server.reload()
        daemon.wait_for(REFRESH)


def test_a_source_that_does_not_count_asks_for_nothing(
    make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """Errors of a source that is not listed are events, not suspicion of the worker."""
    server = make_neon({"neon_refresh.sources": "primary"}, daemon=daemon, pageservers=DEAD)
    with Blocked(server, "SELECT neon_refresh.read_page('t', 0)") as query:
        query.wait_blocked()
        events = "SELECT events_total FROM neon_refresh.stat"
        wait_until("events", lambda: server.value(events) > 3)
        server.value("SELECT neon_refresh.request('flush')")
        posts = daemon.wait_for(REFRESH)
        assert ["manual"] == [post.body["source"] for post in posts]


def test_requests_go_on_while_the_trouble_lasts(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """The first goes out at once, the next ones with backoff, whatever the daemon answers."""
    daemon.statuses[REFRESH] = 500
    server = make_neon({"neon.max_reconnect_attempts": 1}, daemon=daemon, pageservers=DEAD)
    with Blocked(server, "SELECT neon_refresh.read_page('t', 0)") as query:
        posts = daemon.wait_for(REFRESH, 6)
        assert not query.done
    expected = {"source": "pageserver", "shard": 0, "class": "dead", "sqlstate": ""}
    assert expected == {key: posts[0].body[key] for key in expected}
    assert "Connection refused" in posts[0].body["text"]
    assert posts[0].body["count"] >= 1


def test_trouble_that_nobody_suffers_any_more_is_forgotten(
    make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """After the last reader has gone the daemon is asked no more; the next reader starts anew."""
    quick = {"neon_refresh.connect_timeout": "10ms", "neon_refresh.response_suspect_after": "10ms"}
    server = make_neon(quick, daemon=daemon, pageservers=DEAD)
    since = "SELECT suspected_since FROM neon_refresh.stat"
    with Blocked(server, "SELECT neon_refresh.read_page('t', 0)") as query:
        daemon.wait_for(REFRESH)
        query.wait_blocked()
        wait_until("suspicion", lambda: server.value(since))  # it lasts while somebody waits
        query.cancel()
        with pytest.raises(errors.QueryCanceled):
            query.join()
    wait_until("the end of suspicion", lambda: server.value(since) is None)
    shard = "SELECT state, consecutive_failures > 0, last_class FROM neon_refresh.shards"
    assert [("failing", True, "dead")] == server.query(shard)
    server.value("SELECT neon_refresh.request('flush')")
    wait_until("flush", lambda: daemon.of(REFRESH)[-1].body["text"] == "flush")

    daemon.clear()
    with Blocked(server, "SELECT neon_refresh.read_page('t', 0)"):
        body = daemon.wait_for(REFRESH)[0].body
        assert ("pageserver", "dead") == (body["source"], body["class"])


@pytest.mark.parametrize("trouble", ["hang", "refuse"])
def test_healing_waits_for_a_daemon_that_is_away(
    make_neon: MakeNeon,
    make_pageserver: MakePageserver,
    daemon: DaemonStub,
    trouble: str,
) -> None:
    """A daemon that hangs or is not there is asked again until it answers."""
    pageserver = make_pageserver()
    getattr(daemon, trouble)()
    server = make_neon({"neon_refresh.request_timeout": "100ms"}, daemon=daemon, pageservers=DEAD)
    with Blocked(server, "SELECT length(neon_refresh.read_page('t', 0))") as query:
        failed = "SELECT requests_failed FROM neon_refresh.stat"
        wait_until("failed requests", lambda: server.value(failed) >= 3)
        daemon.clear()
        (daemon.answer if trouble == "hang" else daemon.accept)()
        daemon.wait_for(REFRESH)
        result = "SELECT last_result FROM neon_refresh.stat"
        wait_until("an answer", lambda: server.value(result) == "HTTP 200")
        server.configure({"neon.pageserver_connstring": pageserver.url})
        server.reload()
        assert [(8192,)] == query.join()
