"""The main job: the pageserver moves or dies, and Postgres finds the new one."""

import socket
import threading

import pytest

from devstack.compute import Compute
from devstack.wait import wait_until
from tests.e2e.conftest import ComputeFactory
from tests.support.queries import running_queries

ROWS = 100_000


def test_failure_is_found_by_postgres_itself(compute: Compute) -> None:
    """A dies first and the new place is known later: Postgres asks, all running queries finish."""
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    with running_queries(compute.postgres.connect) as start:
        a.admin.set_fault("slow", delay_ms=5)
        queries = [start(scan) for _ in range(3)]
        wait_until("all sessions to read", lambda: a.admin.stats()["connections"]["now"] >= 3)
        a.kill()
        daemon.wait_status("a worker's request", lambda found: found["refresh"]["suspicion"])
        compute.publish(b)

        assert [ROWS] * 3 == [query.value() for query in queries]
    assert compute.setting("neon.pageserver_connstring") == b.url
    assert "serving /refresh_configuration POST request" in daemon.log_text()


@pytest.mark.parametrize("how", ["dead", "silent"])
def test_a_blocked_query_finishes_after_the_move(make_compute: ComputeFactory, how: str) -> None:
    """A query that waits for a dead or a silent pageserver ends right when the list changes."""
    compute = make_compute(settings={"neon_refresh.response_suspect_after": "300ms"})
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    if how == "dead":
        a.kill()
    else:
        a.admin.set_fault("silent", phase="response")
    with running_queries(compute.postgres.connect) as start:
        query = start(scan)
        suspicion = daemon.wait_status("suspicion", lambda found: found["refresh"]["suspicion"])
        assert suspicion["class"] == how
        assert query.running
        compute.publish(b)

        assert ROWS == query.value()
    daemon.wait_status("the end of suspicion", lambda found: found["status"] == "running")


@pytest.mark.parametrize("fault", ["reconnect", "shutdown", "detached"])
def test_wrong_pageserver_heals_without_an_error(compute: Compute, fault: str) -> None:
    """A pageserver that sends the compute away is left as soon as the right one is named."""
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    if fault == "detached":
        a.admin.set_tenant("detached")
    else:
        a.admin.set_fault(fault)
    with running_queries(compute.postgres.connect) as start:
        query = start(scan)
        daemon.wait_status("a worker's request", lambda found: found["refresh"]["suspicion"])
        compute.publish(b)

        assert ROWS == query.value()


def test_not_found_heals_without_an_error(compute: Compute) -> None:
    """The refusal of a metadata request (`not found`, connection kept open) heals as well."""
    compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    a.admin.set_tenant("detached")
    with running_queries(compute.postgres.connect) as start:
        query = start("select neon_refresh.rel_nblocks('story')")
        daemon.wait_status("a worker's request", lambda found: found["refresh"]["suspicion"])
        compute.publish(b)

        assert query.value() == compute.pages()


def test_only_the_moved_shards_reconnect(compute: Compute) -> None:
    """Of four shards on two pageservers only those of the dead one get a new connection."""
    stripe = 16
    scan = compute.fill(ROWS)
    a = compute.pageserver("a", shards="0004,0204", stripe_size=stripe)
    b = compute.pageserver("b", shards="0104,0304", stripe_size=stripe)
    compute.publish(a, b, a, b, stripe_size=stripe)
    compute.start_daemon()
    with compute.postgres.connect() as session:
        assert (ROWS,) == session.execute(scan.encode()).fetchone()
        before = b.admin.stats()["connections"]["total"]
        c = compute.pageserver("c", shards="0004,0204", stripe_size=stripe)
        compute.publish(c, b, c, b, stripe_size=stripe)
        a.kill()

        assert (ROWS,) == session.execute(scan.encode()).fetchone()
    assert c.admin.stats()["pages_sent"] > 0
    assert b.admin.stats()["connections"]["total"] == before


def test_configuration_from_the_control_plane(pulling: Compute) -> None:
    """Over the network, and late: the tenant moves two tenths of a second after A has died."""
    scan = pulling.fill(ROWS)
    a, b = pulling.pageserver("a"), pulling.pageserver("b")
    pulling.publish(a)
    pulling.start_daemon()
    with running_queries(pulling.postgres.connect) as start:
        a.kill()
        query = start(scan)
        late = threading.Timer(0.2, pulling.publish, [b])
        late.start()

        assert ROWS == query.value()
        late.join()
    assert pulling.setting("neon.pageserver_connstring") == b.url


def test_a_server_that_knows_no_daemon_yet(make_compute: ComputeFactory) -> None:
    """Attaching to a running server needs no restart: the daemon's port comes by reload."""
    compute = make_compute(settings={"neon.extension_server_port": 0})
    scan = compute.fill(1000)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    assert [] == daemon.status()["postgres"]["pending_restart"]
    with running_queries(compute.postgres.connect) as start:
        a.kill()
        query = start(scan)
        compute.publish(b)

        assert 1000 == query.value()


def test_worker_talks_over_the_socket(compute: Compute) -> None:
    """Requests and acknowledgements take the way on which nobody else can listen."""
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()

    def over_loopback() -> list[str]:
        text = daemon.call("GET", "/metrics")[1]
        return [line for line in text.splitlines() if 'door="loopback"' in line]

    before = over_loopback()
    compute.publish(b)
    a.kill()
    assert ROWS == compute.postgres.value(scan)
    compute.wait_in_sync()

    assert f"unix:{daemon.socket}" == compute.postgres.value("SHOW neon_refresh.endpoint")
    assert before == over_loopback()


def test_a_stranger_at_the_port_keeps_no_heal_away(compute: Compute) -> None:
    """Any local user may take it while the daemon is down: Postgres's worker asks at the socket."""
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    with socket.create_server(("127.0.0.1", compute.port)) as stranger:
        daemon = compute.start_daemon()
        reason = f"could not listen on 127.0.0.1:{compute.port}: address already in use"
        assert [reason] == daemon.status()["closed_ports"]
        compute.publish(b)
        a.kill()

        assert ROWS == compute.postgres.value(scan)
        assert b.url == compute.setting("neon.pageserver_connstring")
        stranger.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            stranger.accept()
    daemon.wait_status("the port to be open", lambda found: not found["closed_ports"])
    assert 200 == daemon.call("GET", "/livez", tcp=True)[0]
