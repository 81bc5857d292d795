"""kill -9 at every step of an application, and a disk that is full: nothing is lost or torn."""

import http.client
from contextlib import suppress
from typing import Any

import pytest

from compute_common.system.failpoint import STEPS, VARIABLE
from compute_ctl.document.generation import LiveFile
from devstack.compute import Compute
from devstack.wait import wait_until
from tests.e2e.conftest import ComputeFactory
from tests.e2e.crashing import crash_at
from tests.support.small_disk import Disk

ROWS = 5_000
LARGE = {f"app.note{number}": "x" * 1000 for number in range(200)}
"""Settings that need more than the space that is reserved for the next file."""


def live_file(compute: Compute) -> LiveFile:
    """Return what is in the daemon's file."""
    return LiveFile.parse((compute.postgres.data / "compute_ctl.conf").read_text())


def live_generation(compute: Compute) -> int:
    """Return the number of the generation in the daemon's file."""
    marker = live_file(compute).marker
    assert marker is not None
    return marker.generation


def kept(compute: Compute) -> set[int]:
    """Return the generations that can be gone back to."""
    folder = compute.postgres.data / "compute_ctl" / "g"
    return {int(conf.stem) for conf in folder.glob("*.conf") if conf.with_suffix(".json").exists()}


def wait_for_proof(compute: Compute, generation: int) -> dict[str, Any]:
    """Wait until *generation* is applied, and proven in full; return the status."""
    found: dict[str, Any] = compute.daemon.wait_status(
        f"generation {generation} to be proven",
        lambda found: (
            found["status"] == "running"
            and found["config"]["applied"]
            and found["config"]["applied"]["generation"] == generation
            and found["config"]["proven_in_full"] == found["config"]["applied"]
            and found
        ),
    )
    return found


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_is_made_good(compute: Compute, step: str) -> None:
    """The file is whole at once; the next daemon adopts Postgres, and proves what it finds.

    That needs no source; once the source answers again, the new document is in force.
    """
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, settings={"work_mem": "5MB"})
    compute.start_daemon()
    pid, before = compute.postgres.pid, compute.daemon.status()["config"]["applied"]
    compute.daemon.stop()

    compute.publish(b, settings={"work_mem": "6MB"})
    crash_at(compute.daemon, step)
    left = live_file(compute)
    assert left.intact
    assert left.marker is not None
    assert compute.postgres.running

    compute.publish_document("{")
    compute.daemon.start()
    found = wait_for_proof(compute, left.marker.generation)
    assert str(left.marker) == compute.setting("neon_refresh.config_generation")
    assert pid == found["postgres"]["pid"]

    compute.publish(b, settings={"work_mem": "6MB"})
    assert compute.daemon.refresh() in ("applied", "unchanged")
    compute.wait_in_sync()
    status = wait_for_proof(compute, live_generation(compute))
    assert b.url == compute.setting("neon.pageserver_connstring")
    assert str(6 * 1024) == compute.setting("work_mem")
    assert pid == compute.postgres.pid == status["postgres"]["pid"]
    assert status["config"]["applied"]["generation"] > before["generation"]
    assert live_file(compute).intact
    wait_until("a copy of what is applied", lambda: live_generation(compute) in kept(compute))
    a.kill()
    with compute.postgres.connect() as session:
        assert (ROWS,) == session.execute(scan.encode()).fetchone()


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("step", ["before-signal", "before-late-generation"])
def test_a_crash_does_not_undo_a_push(compute: Compute, step: str, *, versioned: bool) -> None:
    """It is in force, though nobody signalled for it and the source tells what was before."""
    old = compute.publish(compute.pageserver("a"), settings={"work_mem": "5MB"})
    new = compute.publish(compute.pageserver("b"), settings={"work_mem": "6MB"})
    if not versioned:
        del old["spec"]["generation"], new["spec"]["generation"]
    compute.publish_document(old)
    daemon = compute.start_daemon()
    daemon.stop()

    daemon.env[VARIABLE] = step
    daemon.start()
    with suppress(OSError, http.client.HTTPException):
        daemon.call("POST", "/configure", new)
    child = daemon.child
    assert child is not None
    assert -9 == wait_until("the crash", child.poll, 60)
    del daemon.env[VARIABLE]
    daemon.start()
    wait_for_proof(compute, live_generation(compute))
    assert daemon.refresh() in ("unchanged", "stale")
    assert str(6 * 1024) == compute.setting("work_mem")
    assert live_generation(compute) in kept(compute)


def on_small_disk(make_compute: ComputeFactory, disk: Disk) -> Compute:
    """Return a compute whose state and configuration file are on *disk*."""
    state = disk.folder / "compute_ctl"
    compute = make_compute(daemon_options=("--state-dir", str(state)))
    compute.daemon.socket = state / "ctl.sock"
    (compute.postgres.data / "compute_ctl.conf").symlink_to(disk.folder / "compute_ctl.conf")
    return compute


def test_what_could_not_be_written_is_news_after_a_restart(
    make_compute: ComputeFactory, disk: Disk
) -> None:
    """Also where documents have no version, and only their content tells what is new."""
    compute = on_small_disk(make_compute, disk)
    a = compute.pageserver("a")
    compute.publish(a)
    compute.start_daemon()
    disk.fill()
    document = compute.publish(a, settings=LARGE)
    del document["spec"]["generation"]
    compute.publish_document(document)
    assert "write_failed" == compute.daemon.refresh()
    compute.daemon.stop()

    disk.free()
    compute.daemon.start()
    wait_for_proof(compute, 2)
    assert "1000" == compute.postgres.value("SELECT length(current_setting('app.note7'))::text")
    compute.daemon.stop()


def test_a_full_disk_costs_neither_the_old_file_nor_the_heal(
    make_compute: ComputeFactory, disk: Disk
) -> None:
    """A file too large for it leaves the old one, and says so; a new server list still fits."""
    compute = on_small_disk(make_compute, disk)
    daemon = compute.daemon
    conf = compute.postgres.data / "compute_ctl.conf"
    a, b, c = compute.pageserver("a"), compute.pageserver("b"), compute.pageserver("c")
    compute.publish(a)
    compute.start_daemon()
    before = conf.read_text()
    disk.fill()

    compute.publish(c, settings=LARGE)
    assert "write_failed" == daemon.refresh()
    assert before == conf.read_text()
    assert "No space left on device" in daemon.status()["error"]
    assert a.url == compute.setting("neon.pageserver_connstring")

    compute.publish(b)
    assert "applied" == daemon.refresh()
    assert b.url == compute.setting("neon.pageserver_connstring")
    assert live_file(compute).intact

    disk.free()
    compute.publish(c, settings=LARGE)
    assert "applied" == daemon.refresh()
    assert c.url == compute.setting("neon.pageserver_connstring")
    daemon.stop()


def test_a_crash_forgets_nothing_that_was_learnt(compute: Compute) -> None:
    """What was refused, what is good and what runs, the next daemon knows without a source."""
    a = compute.pageserver("a")
    compute.publish(a, settings={"work_mem": "5MB"})
    daemon = compute.start_daemon()
    compute.publish(a, settings={"work_mem": "a lot"})
    assert "rejected" == daemon.refresh()
    before = daemon.status()["config"]
    assert 1 == len(before["quarantined"])
    daemon.kill()

    compute.publish_document("{")
    daemon.start()
    after = daemon.wait_status(
        "what was learnt", lambda found: found["status"] != "empty" and found["config"]
    )
    assert before["quarantined"] == after["quarantined"]
    assert before["proven_in_full"] == after["proven_in_full"]
    assert before["applied"] == after["applied"]
