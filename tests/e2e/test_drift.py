"""Somebody else keeps what is written out of force: the status never says otherwise."""

from typing import Any

from devstack.compute import Compute
from devstack.daemon import Daemon
from devstack.wait import wait_until


def looked_at(daemon: Daemon) -> dict[str, Any]:
    """Return the status after a look at what is in force."""
    daemon.refresh()
    return daemon.status()


def drift(found: dict[str, Any]) -> list[str]:
    """Return the settings that a status says are overridden."""
    return [one["name"] for one in found["postgres"]["drift"]]


def wait_drift(compute: Compute, daemon: Daemon, names: list[str]) -> dict[str, Any]:
    """Reload, and wait until the status says that just *names* are overridden."""
    compute.postgres.query("SELECT pg_reload_conf()")

    wait_until(f"drift {names}", lambda: drift(looked_at(daemon)) == names)
    return daemon.status()


def test_overridden_servers_are_not_in_sync(compute: Compute) -> None:
    """ALTER SYSTEM on the server list is shown with its place, and is over when it is reset."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    compute.postgres.query(f"ALTER SYSTEM SET neon.pageserver_connstring = '{b.url}'")

    status = wait_drift(compute, daemon, ["neon.pageserver_connstring"])
    auto = compute.postgres.data / "postgresql.auto.conf"
    assert status["postgres"]["drift"][0]["reason"].startswith(f"overridden by {auto}:")
    assert status["config"]["in_sync"] is False
    code, body = daemon.call("GET", "/syncz")
    assert (code, "neon.pageserver_connstring is overridden" in body["error"]) == (503, True)
    compute.publish(b, settings={"work_mem": "5MB"})
    assert daemon.refresh() == "applied"  # the same servers, whoever names them

    compute.postgres.query("ALTER SYSTEM RESET neon.pageserver_connstring")
    assert wait_drift(compute, daemon, [])["config"]["in_sync"] is True


def test_lost_include_is_not_in_sync(compute: Compute) -> None:
    """A main file written anew without the include line: said, also by the next document."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    main = compute.postgres.data / "postgresql.conf"
    kept = main.read_text()
    lines = kept.splitlines(keepends=True)
    main.write_text("".join(line for line in lines if "compute_ctl.conf" not in line))

    status = wait_drift(compute, daemon, ["include_if_exists"])
    reason = f"no configuration file includes {compute.postgres.data / 'compute_ctl.conf'}"
    assert status["postgres"]["drift"][0]["reason"] == reason
    assert status["config"]["in_sync"] is False
    compute.publish(b)
    assert daemon.refresh() == "unproven"
    assert daemon.status()["error"] == f"not in force: {reason}"

    main.write_text(kept)
    assert wait_drift(compute, daemon, [])["config"]["in_sync"] is True
    assert compute.setting("neon.pageserver_connstring") == b.url
