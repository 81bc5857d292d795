"""A push that waits for Postgres hears what became of its own document, not of another."""

from concurrent.futures import ThreadPoolExecutor

from devstack.compute import TENANT, TIMELINE, Compute
from devstack.daemon import Daemon
from devstack.document import attached

WAIT_S = 60.0


def stopped(compute: Compute) -> Daemon:
    """Stop Postgres; return the daemon that knows it."""
    daemon = compute.daemon
    compute.postgres.stop()
    daemon.wait_status("the end of postgres", lambda found: not found["postgres"]["pid"])
    return daemon


def wait_written(daemon: Daemon, version: str) -> None:
    """Wait until the document of *version* is written, and not proven."""
    daemon.wait_status(
        f"version {version}",
        lambda found: (
            found["config"]["desired"]["version"] == version
            and found["refresh"]["last_attempt"]["outcome"] == "unproven"
        ),
    )


def test_a_push_replaced_before_it_was_proven(compute: Compute) -> None:
    """What the source says later comes into force: the pusher is told so."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, generation=1)
    compute.start_daemon()
    daemon = stopped(compute)
    pushed = attached(tenant=TENANT, timeline=TIMELINE, pageservers=[b.url], generation=2)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.call, "POST", "/configure", pushed, timeout=WAIT_S)
        wait_written(daemon, "2")
        compute.publish(a, generation=3)
        assert "unproven" == daemon.refresh()

        compute.postgres.start()

        assert 409 == waiting.result(WAIT_S)[0]
    compute.wait_in_sync()
    assert a.url == compute.setting("neon.pageserver_connstring")


def test_a_push_refused_when_postgres_came(compute: Compute) -> None:
    """The good rest in its place is no proof of the document pushed."""
    a = compute.pageserver("a")
    compute.publish(a, generation=1)
    compute.start_daemon()
    daemon = stopped(compute)
    settings = {"session_preload_libraries": "nolib"}
    pushed = attached(
        tenant=TENANT, timeline=TIMELINE, pageservers=[a.url], generation=2, settings=settings
    )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.call, "POST", "/configure", pushed, timeout=WAIT_S)
        wait_written(daemon, "2")

        compute.postgres.start()

        code, body = waiting.result(WAIT_S)
    assert (500, True) == (code, "nolib" in body["error"])
    assert 1 == len(daemon.status()["config"]["quarantined"])
