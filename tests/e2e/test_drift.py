"""Somebody else keeps what is written out of force: the status never says otherwise."""

import os
import shutil
from pathlib import Path
from typing import Any

from devstack.compute import Compute
from devstack.daemon import Daemon
from devstack.installation import make_folder
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
    assert 1 == daemon.log_text().count(str(auto)), "the place is told once"
    assert status["config"]["in_sync"] is False
    code, body = daemon.call("GET", "/syncz")
    assert (503, True) == (code, "neon.pageserver_connstring: overridden" in body["error"])
    compute.publish(b, settings={"work_mem": "5MB"})
    assert "applied" == daemon.refresh()  # the same servers, whoever names them

    compute.postgres.query("ALTER SYSTEM RESET neon.pageserver_connstring")
    assert wait_drift(compute, daemon, [])["config"]["in_sync"] is True


def without_include(main: Path) -> str:
    """Write the main file anew without the line that includes ours; return it as it was."""
    kept = main.read_text()
    lines = kept.splitlines(keepends=True)
    main.write_text("".join(line for line in lines if "compute_ctl.conf" not in line))
    return kept


def test_lost_include_is_added_again(compute: Compute) -> None:
    """A program that writes the main file anew costs the next look nothing, nor the next heal."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    main = compute.postgres.data / "postgresql.conf"

    kept = without_include(main)
    compute.postgres.query("SELECT pg_reload_conf()")
    assert "applied" == daemon.refresh()
    assert (kept, a.url) == (main.read_text(), compute.setting("neon.pageserver_connstring"))

    without_include(main)
    compute.publish(b)
    assert "applied" == daemon.refresh()
    assert (kept, b.url) == (main.read_text(), compute.setting("neon.pageserver_connstring"))


def test_include_is_added_as_soon_as_it_can_be(compute: Compute) -> None:
    """The look that may add the line again also says that the document is in force now."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    folder = make_folder("etc")
    main = compute.postgres.data / "postgresql.conf"
    main.rename(folder / "postgresql.conf")
    ours = folder / "postgresql.conf"
    ours.write_text(f"include '{compute.postgres.data}/test.conf'\n")
    main.symlink_to(ours)
    daemon = compute.start_daemon()
    without_include(ours)
    folder.chmod(0o500)
    compute.publish(b)
    assert "unproven" == daemon.refresh()

    folder.chmod(0o700)

    assert "applied" == daemon.refresh()
    status = daemon.status()
    assert (True, None) == (status["config"]["in_sync"], status["error"] or None)
    shutil.rmtree(folder)


def test_lost_include_is_not_in_sync(compute: Compute) -> None:
    """Where the main file is not ours to write: said, also by the next document."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    folder = make_folder("etc")
    main = compute.postgres.data / "postgresql.conf"
    ours = folder / "postgresql.conf"
    data = compute.postgres.data
    ours.write_text(f"include '{data}/test.conf'\ninclude_if_exists = '{data}/compute_ctl.conf'\n")
    ours.chmod(0o644)
    folder.chmod(0o555)
    os.chown(folder, os.getuid(), os.getgid())
    main.unlink()
    main.symlink_to(ours)
    daemon = compute.start_daemon()
    kept = without_include(ours)

    status = wait_drift(compute, daemon, ["include_if_exists"])
    reason = f"no configuration file includes {data / 'compute_ctl.conf'}"
    assert status["postgres"]["drift"][0]["reason"] == reason
    assert status["config"]["in_sync"] is False
    compute.publish(b)
    assert "unproven" == daemon.refresh()
    assert f"not in force: {reason}" == daemon.status()["error"]
    line = f"include_if_exists = '{data / 'compute_ctl.conf'}'"
    assert 1 == daemon.log_text().count(f'(Add this line at the end of "{main}": {line})')

    ours.write_text(kept)
    assert wait_drift(compute, daemon, [])["config"]["in_sync"] is True
    assert compute.setting("neon.pageserver_connstring") == b.url
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_command_line_beats_the_document(compute: Compute) -> None:
    """A server list given to the server at its start is drift, and no document is in force."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.postgres.stop()
    compute.postgres.start(arguments=("-c", f"neon.pageserver_connstring={a.url}"))
    compute.publish(b)
    daemon = compute.start_daemon(in_sync=False)

    daemon.wait_status("drift", lambda found: drift(found) == ["neon.pageserver_connstring"])
    status = daemon.status()
    assert (False, None) == (status["config"]["in_sync"], status["config"]["applied"])
    reason = "overridden by the server's command line (-c, pg_ctl -o)"
    assert status["postgres"]["drift"][0]["reason"] == reason

    compute.postgres.stop()
    compute.postgres.start()
    compute.wait_in_sync()
    assert compute.setting("neon.pageserver_connstring") == b.url
