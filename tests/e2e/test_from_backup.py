"""A compute that starts from nothing: by a base backup of its pageserver."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from compute_ctl.store.history import read
from devstack.compute import TENANT
from devstack.fresh_compute import ROWS, FreshCompute
from devstack.installation import binary, run_as
from devstack.tokens import KeyPair
from devstack.wait import wait_until
from tests.e2e.fresh import FreshComputeFactory, wait_phase
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.timeout(180)  # several starts each, on a machine that is busy


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


def test_pushed_document(fresh: FreshCompute) -> None:
    """A document that is pushed to an empty compute is answered when it runs, backup and all."""
    a = fresh.pageserver("a")
    a.admin.set_fault("error", phase="basebackup_end", count=1)
    document = fresh.document(a)
    fresh.daemon.start()

    code, body = fresh.daemon.call(
        "POST",
        "/configure",
        {name: document[name] for name in ("spec", "compute_ctl_config")},
        timeout=120.0,
    )

    assert 200 == code, body
    assert ROWS == fresh.query(fresh.stored.scan)


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
    assert dead or f"pageserver {a.address}: given up" in fresh.daemon.log_text()
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

    if init == "basebackup":
        fresh.daemon.spawn()
        child = fresh.daemon.child
        assert child is not None
        assert 2 == child.wait(60)
        assert "did not take from a base backup" in child.stderr_text()
    else:
        fresh.daemon.start()
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
