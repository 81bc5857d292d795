"""A compute that starts from nothing: by a base backup of its pageserver."""

import json
import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from compute_common.system.failpoint import CLUSTER_STEPS, VARIABLE
from compute_ctl.store.history import read
from devstack.compute import TENANT
from devstack.fresh_compute import ROWS, FreshCompute
from devstack.installation import binary, run_as
from devstack.process import ChildError
from devstack.tokens import KeyPair
from devstack.wait import wait_until
from tests.e2e.fresh import FreshComputeFactory
from tests.support.small_disk import small_disk

OURS = ("compute_ctl", "postgresql.conf", ".postgresql.conf")


def crash_at(compute: FreshCompute, step: str) -> None:
    """Start the daemon with this failpoint, and wait until it has killed itself there."""
    daemon = compute.daemon
    daemon.env[VARIABLE] = step
    with suppress(AssertionError, ChildError):  # it may be gone before it has answered
        daemon.start()
    child = daemon.child
    assert child is not None
    assert -9 == wait_until(f"the crash {step}", child.poll, 60)
    del daemon.env[VARIABLE]


def wait_phase(compute: FreshCompute, phase: str) -> None:
    """Wait until the cluster is so far."""
    compute.daemon.wait_status(
        phase, lambda found: found["cluster"] and found["cluster"]["phase"] == phase, 60
    )


def test_from_nothing_to_a_heal(fresh: FreshCompute) -> None:
    """An empty directory becomes a server that reads pages, and heals when they move."""
    a, b = fresh.pageserver("a"), fresh.pageserver("b")
    fresh.publish(a)

    fresh.daemon.start()
    cluster = fresh.wait_running()["cluster"]

    assert ROWS == fresh.query(fresh.stored.scan)
    assert ("basebackup", "complete", a.address) == (
        *(cluster["method"], cluster["phase"], cluster["pageserver"]),
    )
    assert 1 <= a.admin.stats()["basebackups"]
    code, metrics = fresh.daemon.call("GET", "/metrics.json")
    assert (200, cluster["bytes"]) == (code, metrics["basebackup_bytes"])
    assert 1_000_000 < metrics["basebackup_bytes"]
    assert 0 < metrics["pageserver_connect_micros"]
    (made,) = (one for one in read(fresh.data / "compute_ctl") if one.get("kind") == "cluster")
    assert ("done", a.address) == (made["outcome"], made["pageserver"])
    a.kill()
    fresh.publish(b)
    wait_until("the heal", lambda: fresh.query(fresh.stored.scan) == ROWS, 30)


def test_tree_is_as_neons(fresh: FreshCompute) -> None:
    """Passwords are let in, shared memory is the system's, Neon's signal has its new name."""
    fresh.publish(fresh.pageserver("a"))
    crash_at(fresh, "before-origin")

    assert "host all all all md5" in (fresh.data / "pg_hba.conf").read_text().splitlines()
    assert Path("/dev/shm") == (fresh.data / "pg_dynshmem").readlink()
    assert (fresh.data / "neon.signal").exists()
    assert not (fresh.data / "zenith.signal").exists()
    assert not (fresh.data / "standby.signal").exists()


def test_storage_token(make_fresh: FreshComputeFactory, tmp_path: Path) -> None:
    """The storage token of the document is the password, and is in no log and no status."""
    fresh = make_fresh()
    keys = KeyPair.create(tmp_path)
    a = fresh.pageserver("a", auth_key=keys.public_path)
    fresh.publish(a, storage_auth_token="not.a.token")
    fresh.daemon.start()
    fresh.daemon.wait_status(
        "the refusal", lambda found: "JWT" in str((found["cluster"] or {}).get("error")), 60
    )
    token = keys.token(TENANT)

    fresh.publish(a, storage_auth_token=token)
    fresh.daemon.refresh(0)
    found = fresh.wait_running()

    assert ROWS == fresh.query(fresh.stored.scan)
    assert token not in json.dumps(found) + fresh.daemon.log_text()
    assert token not in (fresh.data / "compute_ctl" / "history.jsonl").read_text()


def test_replica(fresh: FreshCompute) -> None:
    """A replica is a standby from its first start."""
    fresh.publish(fresh.pageserver("a"), mode="Replica")

    fresh.daemon.start()
    fresh.wait_running()

    assert True is fresh.query("select pg_is_in_recovery()")


def test_failures_of_every_kind(fresh: FreshCompute) -> None:
    """A try that fails before, within or after the archive leaves nothing; the next one begins."""
    a = fresh.pageserver("a")
    for phase in ("basebackup", "basebackup_middle", "basebackup_end"):
        a.admin.set_fault("error", phase=phase, count=1, text="told to fail")
    a.admin.set_fault("close", phase="basebackup_middle", count=1)
    a.admin.set_fault("reset", phase="basebackup_end", count=1)
    fresh.publish(a)

    fresh.daemon.start()
    found = fresh.wait_running()

    assert 6 <= found["cluster"]["tries"]
    assert found["cluster"]["error"] is None
    assert "told to fail" in fresh.daemon.log_text()
    assert ROWS == fresh.query(fresh.stored.scan)


@pytest.mark.parametrize("dead", [True, False])
def test_pageserver_moves_during_the_backup(fresh: FreshCompute, dead: bool) -> None:
    """The next try is at the new place, at once: also where the old one only falls silent."""
    a, b = fresh.pageserver("a"), fresh.pageserver("b")
    a.admin.set_fault("silent", phase="basebackup_middle")
    fresh.publish(a)
    fresh.daemon.start()
    wait_phase(fresh, "transfer")

    fresh.publish(b)
    if dead:
        a.kill()
    else:
        fresh.daemon.refresh(0)
    found = fresh.wait_running()

    assert b.address == found["cluster"]["pageserver"]
    assert 0 == b.admin.stats()["errors_sent"]
    assert ROWS == fresh.query(fresh.stored.scan)


def test_end_during_the_backup(fresh: FreshCompute) -> None:
    """A daemon that is told to end does so at once, and the next one begins again."""
    a = fresh.pageserver("a")
    a.admin.set_fault("silent", phase="basebackup_middle")
    fresh.publish(a)
    fresh.daemon.start()
    wait_phase(fresh, "transfer")

    assert 0 == fresh.daemon.stop()
    a.admin.clear_faults()
    fresh.daemon.start()
    fresh.wait_running()

    assert not (fresh.data / "compute_ctl.partial").exists()


def test_kill_during_the_backup(fresh: FreshCompute) -> None:
    """After kill -9 in the middle of a transfer there is no cluster; the next start makes one."""
    a = fresh.pageserver("a")
    a.admin.set_fault("silent", phase="basebackup_middle")
    fresh.publish(a)
    fresh.daemon.start()
    wait_phase(fresh, "transfer")

    fresh.daemon.kill()
    assert not (fresh.data / "PG_VERSION").exists()
    a.admin.clear_faults()
    fresh.daemon.start()
    fresh.wait_running()

    assert ROWS == fresh.query(fresh.stored.scan)


@pytest.mark.parametrize("step", CLUSTER_STEPS)
def test_kill_while_a_cluster_is_replaced(fresh: FreshCompute, step: str) -> None:
    """What a kill leaves is the old cluster, the new one, or none; the next start makes it good."""
    fresh.publish(fresh.pageserver("a"))
    fresh.daemon.start()
    fresh.wait_running()
    with suppress(Exception):
        fresh.query("create table mine as select 1 as n")
    fresh.daemon.stop()

    crash_at(fresh, step)

    whole = step in ("before-install", "after-install-begun", "before-origin")
    assert whole is (fresh.data / "PG_VERSION").exists()
    fresh.daemon.start()
    fresh.wait_running()
    assert ROWS == fresh.query(fresh.stored.scan)
    assert not (fresh.data / "compute_ctl.partial").exists()


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of everything but the daemon's own files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0].startswith(OURS) or name.parts[0] == "pg_dynshmem":
            continue
        mode = path.lstat().st_mode
        found[str(name)] = mode, path.read_bytes() if stat.S_ISREG(mode) else b""
    return found


def test_twice_the_same(fresh: FreshCompute) -> None:
    """The same document and backup leave the same tree, also over a cluster that was in use."""
    fresh.publish(fresh.pageserver("a"))
    crash_at(fresh, "before-origin")
    first = tree(fresh.data)
    fresh.daemon.start()
    fresh.wait_running()
    with suppress(Exception):
        fresh.query("create table mine as select 1 as n")
    fresh.daemon.stop()
    assert first != tree(fresh.data)

    crash_at(fresh, "before-origin")

    assert first == tree(fresh.data)


@pytest.mark.parametrize("init", ["basebackup", "auto"])
def test_a_cluster_of_others_is_never_replaced(make_fresh: FreshComputeFactory, init: str) -> None:
    """One that the daemon did not make is refused, or started as it is."""
    fresh = make_fresh(options=["--init", init])
    subprocess.run(
        [binary("initdb"), "-D", str(fresh.data), "-U", "postgres", "-A", "trust"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
        cwd="/",
        **run_as(),
    )
    control = (fresh.data / "global" / "pg_control").read_bytes()[:8]
    a = fresh.pageserver("a")
    fresh.publish(a)

    fresh.daemon.spawn()
    if init == "basebackup":
        child = fresh.daemon.child
        assert child is not None
        assert 2 == child.wait(60)
        assert "did not take from a base backup" in child.stderr_text()
    else:
        wait_until("an answer", fresh.daemon._answers, 60)
        fresh.wait_running()

    assert control == (fresh.data / "global" / "pg_control").read_bytes()[:8]
    assert 0 == a.admin.stats()["basebackups"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")
def test_full_disk(make_fresh: FreshComputeFactory) -> None:
    """A disk that is full leaves no half cluster; once there is room, a refresh makes it."""
    with small_disk("100m") as disk:
        if isinstance(disk, str):
            pytest.skip(disk)
        fresh = make_fresh(data=disk.folder / "data")
        filler = disk.folder / "room"
        filler.write_bytes(bytes(80 << 20))
        fresh.publish(fresh.pageserver("a"))

        fresh.daemon.start()
        wait_phase(fresh, "failed")
        cluster = fresh.daemon.status()["cluster"]
        assert "No space left on device" in cluster["error"]
        assert not (fresh.data / "PG_VERSION").exists()
        assert not (fresh.data / "compute_ctl.partial").exists()
        filler.unlink()
        fresh.daemon.refresh()
        fresh.wait_running()

        assert ROWS == fresh.query(fresh.stored.scan)
        assert 0 == fresh.daemon.stop()
