"""The acknowledgement of what the server runs with."""

import hashlib
import time

from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon, MakePageserver
from tests.pg.queries import Blocked
from tests.support.daemon_stub import ACK, REFRESH, DaemonStub

TWO = "host=127.0.0.1 port=1,host=127.0.0.1 port=2"


def map_hash(marker: str, stripe: int, endpoints: str) -> str:
    """The hash as the contract defines it."""
    return hashlib.sha256(f"{marker}\n{stripe}\n{endpoints}".encode()).hexdigest()


def markers(daemon: DaemonStub) -> list[str]:
    """Markers acknowledged so far."""
    return [post.body["marker"] for post in daemon.of(ACK)]


def suspects(daemon: DaemonStub) -> bool:
    """Whether the last ack carried a suspicion."""
    return bool(daemon.of(ACK)[-1].body["suspects"])


def test_the_start_is_acknowledged(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """At its start the worker says which marker, list and stripe size the postmaster published."""
    server = make_neon(
        {"neon.stripe_size": 16, "neon_refresh.config_generation": "7.abc.def"},
        daemon=daemon,
        pageservers=TWO,
    )

    first = daemon.wait_for(ACK)[0]
    expected = {
        "marker": "7.abc.def",
        "shard_count": 2,
        "stripe_size": 16,
        "map_sha256": map_hash("7.abc.def", 16, TWO),
        "pid": server.pid,
        "suspects": False,
    }
    assert expected == first.body
    assert "worker" == first.headers["x-refresh-source"]
    assert "application/json" == first.headers["content-type"]


def test_every_reload_is_acknowledged_even_an_unchanged_one(
    make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """A SIGHUP that changes nothing is acknowledged like one that does."""
    server = make_neon({"neon_refresh.config_generation": "1.a.b"}, daemon=daemon, pageservers=TWO)
    daemon.wait_for(ACK)
    wait_until("a quiet worker", lambda: server.value("SELECT acks_total FROM neon_refresh.stat"))
    daemon.clear()
    server.reload()
    assert "1.a.b" == daemon.wait_for(ACK)[0].body["marker"]

    daemon.clear()
    server.configure(
        {
            "neon.stripe_size": 32,
            "neon.pageserver_connstring": "host=127.0.0.1 port=9,",
            "neon_refresh.config_generation": "2.a.b",
        }
    )
    server.reload()
    body = daemon.wait_for(ACK)[0].body
    assert map_hash("2.a.b", 32, "host=127.0.0.1 port=9") == body["map_sha256"]
    assert 1 == body["shard_count"]


def test_without_a_marker_nothing_is_acknowledged(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """A server whose configuration carries no marker has nothing to say."""
    server = make_neon(daemon=daemon)
    server.reload()
    assert server.value("SELECT neon_refresh.request('now')") is True
    daemon.wait_for(REFRESH)

    assert [] == daemon.of(ACK)


def test_the_ack_is_repeated_until_it_is_answered(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """5xx and silence are repeated; 200 and 409 are final."""
    daemon.statuses[ACK] = 503
    server = make_neon({"neon_refresh.config_generation": "1.a.b"}, daemon=daemon)
    daemon.wait_for(ACK, 3)

    daemon.statuses[ACK] = 409
    status = "SELECT last_ack_status FROM neon_refresh.stat"
    wait_until("409 seen", lambda: server.value(status) == 409)
    daemon.clear()
    # one follows the request, one more may when all is well; a repetition takes 200 ms at most
    assert server.value("SELECT neon_refresh.request('now')") is True
    first = daemon.wait_for(ACK)[0].at
    wait_until("a second", lambda: time.monotonic() - first >= 1)
    assert len(daemon.of(ACK)) <= 2


def test_the_ack_says_whether_anything_is_suspected(
    make_neon: MakeNeon, make_pageserver: MakePageserver, daemon: DaemonStub
) -> None:
    """While a shard is suspected the ack says so, and one more ack tells that it is over."""
    server = make_neon(
        {"neon_refresh.config_generation": "1.a.b"},
        daemon=daemon,
        pageservers="host=127.0.0.1 port=1",
    )
    with Blocked(server, "SELECT length(neon_refresh.read_page('t', 0))") as query:
        wait_until("a suspicious ack", lambda: daemon.of(ACK)[-1:] and suspects(daemon))
        server.configure({"neon.pageserver_connstring": make_pageserver().url})
        server.reload()
        assert [(8192,)] == query.join()
    wait_until("an ack that all is well", lambda: not suspects(daemon))


def test_the_ack_of_a_reload_that_heals_leaves_the_processors_to_the_queries(
    make_neon: MakeNeon, make_pageserver: MakePageserver, daemon: DaemonStub
) -> None:
    """After trouble the ack comes 20 ms later, and it says at once that the trouble is over."""
    server = make_neon(
        {"neon_refresh.config_generation": "1.a.b"},
        daemon=daemon,
        pageservers="host=127.0.0.1 port=1",
    )
    healed = {
        "neon.pageserver_connstring": make_pageserver().url,
        "neon_refresh.config_generation": "2.a.b",
    }
    with Blocked(server, "SELECT length(neon_refresh.read_page('t', 0))") as query:
        daemon.wait_for(REFRESH)
        server.configure(healed)
        begun = time.monotonic()
        server.reload()
        assert [(8192,)] == query.join()
    wait_until("the ack", lambda: "2.a.b" in markers(daemon))
    server.configure({"neon_refresh.config_generation": "3.a.b"})
    server.reload()
    wait_until("the next ack", lambda: "3.a.b" in markers(daemon))
    told = [post for post in daemon.of(ACK) if post.body["marker"] == "2.a.b"]
    assert {False} == {post.body["suspects"] for post in told}
    assert told[0].at - begun >= 0.02


def test_the_ack_does_not_wait_for_a_hung_refresh(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """A refresh that the daemon leaves unanswered holds up no acknowledgement."""
    server = make_neon(
        {"neon_refresh.config_generation": "1.a.b", "neon_refresh.request_timeout": "30s"},
        daemon=daemon,
    )
    acks = "SELECT acks_total FROM neon_refresh.stat"
    wait_until("the first ack", lambda: server.value(acks) == 1)
    daemon.hang()
    server.value("SELECT neon_refresh.request('now')")
    daemon.wait_for(REFRESH)

    server.configure({"neon_refresh.config_generation": "2.a.b"})
    server.reload()
    server.wait_log('parameter "neon_refresh.config_generation" changed')
    daemon.answer()
    wait_until("2.a.b", lambda: "2.a.b" in markers(daemon))
