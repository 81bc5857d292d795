"""Requests that meet: a push during a fetch, a refresh during a push, an end during everything."""

from concurrent.futures import ThreadPoolExecutor

from devstack.compute import TENANT, TIMELINE, Compute
from devstack.document import attached
from devstack.wait import wait_until
from tests.e2e.conftest import ComputeFactory


def test_a_push_ends_a_fetch_that_hangs(pulling: Compute) -> None:
    """While the control plane is silent, a pushed document is applied at once."""
    pulling.faults.strike("no_reports")  # else it would publish its own above the push
    a, b = pulling.pageserver("a"), pulling.pageserver("b")
    pulling.publish(a)
    daemon = pulling.start_daemon()
    pulling.faults.strike("silent", route="spec")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.refresh)
        daemon.wait_status("the fetch", lambda found: found["status"] == "refresh_configuration")
        document = attached(tenant=TENANT, timeline=TIMELINE, pageservers=[b.url], generation=9)

        code, body = daemon.call("POST", "/configure", document)

        assert 200 == code, body
        assert pulling.setting("neon.pageserver_connstring") == b.url
        pulling.faults.clear()
        assert waiting.result(30) in ("superseded", "stale", "unchanged")


def test_termination_during_a_fetch(pulling: Compute) -> None:
    """Terminate is accepted while a fetch hangs, and its waiter is told."""
    pulling.publish(pulling.pageserver("a"))
    daemon = pulling.start_daemon()
    pulling.faults.strike("silent", route="spec")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.refresh)
        daemon.wait_status("the fetch", lambda found: found["status"] == "refresh_configuration")

        code, _ = daemon.call("POST", "/terminate")

        assert 200 == code
        assert "terminated" == waiting.result(10)
    assert daemon.child is not None
    assert 0 == daemon.child.wait(10)
    assert not pulling.postgres.running


def test_an_older_push_is_refused(make_compute: ComputeFactory) -> None:
    """A push never goes backwards: 409, and nothing changes."""
    compute = make_compute()
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(b, generation=5)
    daemon = compute.start_daemon()
    document = attached(tenant=TENANT, timeline=TIMELINE, pageservers=[a.url], generation=4)

    code, body = daemon.call("POST", "/configure", document)

    assert 409 == code, body
    assert compute.setting("neon.pageserver_connstring") == b.url


def test_drift_is_seen_explained_and_cleared(make_compute: ComputeFactory) -> None:
    """ALTER SYSTEM of a managed setting shows with file and line, and goes when it is undone."""
    compute = make_compute()
    compute.publish(compute.pageserver("a"), settings={"work_mem": "5MB"})
    daemon = compute.start_daemon()
    compute.postgres.query("alter system set work_mem = '9MB'")
    compute.postgres.reload()

    assert "unchanged" == daemon.refresh()

    (drift,) = daemon.status()["postgres"]["drift"]
    assert "work_mem" == drift["name"]
    assert drift["file"].endswith("postgresql.auto.conf")
    compute.postgres.query("alter system reset work_mem")
    compute.postgres.reload()
    wait_until("the end of the drift", lambda: daemon.refresh() and not drifting(daemon.status()))


def drifting(status: dict[str, dict[str, object]]) -> object:
    """Return what drifts."""
    return status["postgres"]["drift"]


def test_what_waits_for_a_restart_is_named(make_compute: ComputeFactory) -> None:
    """A restart-only change is in force as far as it can be, and shown old, new and where."""
    compute = make_compute()
    a = compute.pageserver("a")
    compute.publish(a)
    daemon = compute.start_daemon()
    good = daemon.status()["config"]["proven_in_full"]["generation"]

    compute.publish(a, settings={"max_connections": "70"})
    assert "applied" == daemon.refresh()

    status = daemon.status()
    (waits,) = status["postgres"]["pending_restart"]
    assert ("max_connections", "50", "70") == (waits["name"], waits["old"], waits["new"])
    assert waits["file"].endswith("compute_ctl.conf")
    assert status["config"]["proven_in_full"]["generation"] == good
