"""kill -9 while a cluster is made or replaced, and what is there then."""

import stat
from pathlib import Path

import pytest

from compute_common.system.failpoint import CLUSTER_STEPS
from devstack.fresh_compute import ROWS, FreshCompute
from tests.e2e.crashing import crash_at
from tests.e2e.fresh import wait_phase

pytestmark = pytest.mark.timeout(180)  # several starts each, on a machine that is busy

OURS = ("compute_ctl", "postgresql.conf", ".postgresql.conf")


def test_tree_is_as_neons(fresh: FreshCompute) -> None:
    """Clients may log in by password, pg_dynshmem is /dev/shm, zenith.signal is neon.signal."""
    fresh.publish(fresh.pageserver("a"))
    crash_at(fresh.daemon, "before-origin")

    assert "host all all all md5" in (fresh.data / "pg_hba.conf").read_text().splitlines()
    assert Path("/dev/shm") == (fresh.data / "pg_dynshmem").readlink()
    assert (fresh.data / "neon.signal").exists()
    assert not (fresh.data / "zenith.signal").exists()
    assert not (fresh.data / "standby.signal").exists()


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
    fresh.query("create table mine as select 1 as n")
    fresh.daemon.stop()

    crash_at(fresh.daemon, step)

    whole = step in ("before-install", "after-install-begun", "before-origin")
    assert whole is (fresh.data / "PG_VERSION").exists()
    fresh.daemon.start()
    fresh.wait_running()
    assert ROWS == fresh.query(fresh.stored.scan)
    assert fresh.query("select to_regclass('mine')") is None  # it was in the old one
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
    crash_at(fresh.daemon, "before-origin")
    first = tree(fresh.data)
    fresh.daemon.start()
    fresh.wait_running()
    fresh.query("create table mine as select 1 as n")
    fresh.daemon.stop()
    assert first != tree(fresh.data)

    crash_at(fresh.daemon, "before-origin")

    assert first == tree(fresh.data)
