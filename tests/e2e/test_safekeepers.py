"""Safekeepers of a primary: synchronized before its first start, and after its end."""

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.installation import binary, make_folder, pg_config
from devstack.wait import wait_until
from tests.e2e.fresh import FreshComputeFactory
from tests.support.safekeeper import Safekeeper

pytestmark = pytest.mark.timeout(180)  # several starts each, on a machine that is busy

SAFEKEEPERS = ["127.0.0.1:1", "127.0.0.1:2"]
LIBRARY = '#include "postgres.h"\n#include "fmgr.h"\nPG_MODULE_MAGIC;\n'
PROGRAM = """#!/bin/sh
if [ "$1" = --sync-safekeepers ]; then
    echo "$NEON_AUTH_TOKEN $(grep -c neon.safekeepers "$PGDATA/postgresql.conf")" >> {asked}
    {sync}
    exit
fi
exec {postgres} "$@"
"""


class NeonServer:
    """Stands in for Neon's server: a binary that knows --sync-safekeepers, a library `neon`.

    Everything else is PostgreSQL's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = folder / "asked"
        self.asked.touch(mode=0o666)
        self.asked.chmod(0o666)
        source = folder / "neon.c"
        source.write_text(LIBRARY)
        include = f"-I{pg_config('includedir-server')}"
        command = ["gcc", "-shared", "-fPIC", include, "-o", str(folder / "neon.so"), str(source)]
        subprocess.run(command, check=True, timeout=60)

    def program(self, sync: str) -> str:
        """Make the program; *sync* is what it does to synchronize."""
        path = self.folder / "postgres"
        path.write_text(PROGRAM.format(asked=self.asked, sync=sync, postgres=binary("postgres")))
        path.chmod(0o755)
        return str(path)

    @property
    def settings(self) -> dict[str, str]:
        """What loads the library."""
        return {
            "shared_preload_libraries": "neon",
            "dynamic_library_path": f"{self.folder}:$libdir",
        }


@pytest.fixture
def neon() -> Iterator[NeonServer]:
    """Return one in a folder that the server may read."""
    folder = make_folder("neon-")
    yield NeonServer(folder)
    shutil.rmtree(folder)


def test_backup_at_the_agreed_position(make_fresh: FreshComputeFactory, neon: NeonServer) -> None:
    """The backup is taken where they agree; at the end the position is the answer."""
    fresh = make_fresh(pgbin=neon.program("echo noise; echo 0/1500000"))
    fresh.publish(
        fresh.pageserver("a"),
        settings=neon.settings,
        safekeeper_connstrings=SAFEKEEPERS,
        storage_auth_token="the.token",
    )

    fresh.daemon.start()
    found = fresh.wait_running()
    assert "0/1500000" == found["cluster"]["lsn"]
    assert ["the.token 1"] == neon.asked.read_text().splitlines()

    assert (200, {"lsn": "0/1500000"}) == fresh.daemon.call("POST", "/terminate")
    assert 2 == len(neon.asked.read_text().splitlines())


def test_safekeepers_that_agree_already(make_fresh: FreshComputeFactory, neon: NeonServer) -> None:
    """Two of three do: the program is not run before the start, unless they answer too late."""
    fresh = make_fresh(pgbin=neon.program("echo 0/1700000"))
    with Safekeeper("0/1500000") as one, Safekeeper("0/1500000") as two:
        fresh.publish(
            fresh.pageserver("a"),
            settings=neon.settings,
            safekeeper_connstrings=[one.address, "127.0.0.1:1", two.address],
        )

        fresh.daemon.start()
        found = fresh.wait_running()

        late = len(neon.asked.read_text().splitlines())
        assert ("0/1700000" if late else "0/1500000") == found["cluster"]["lsn"]
        assert f"timeline_id={found['timeline']}" in one.options
        assert f"tenant_id={found['tenant']}" in one.options
    assert (200, {"lsn": "0/1700000"}) == fresh.daemon.call("POST", "/terminate")


def test_safekeepers_that_do_not_agree(make_fresh: FreshComputeFactory, neon: NeonServer) -> None:
    """Without a position no backup is taken; the next try may have one."""
    once = f"[ -e {neon.folder}/agrees ] && echo 0/1500000 || {{ echo no quorum >&2; exit 1; }}"
    fresh = make_fresh(pgbin=neon.program(once))
    a = fresh.pageserver("a")
    fresh.publish(a, settings=neon.settings, safekeeper_connstrings=SAFEKEEPERS)

    fresh.daemon.start()
    fresh.daemon.wait_status(
        "the failure", lambda found: "no quorum" in str((found["cluster"] or {}).get("error")), 60
    )
    assert 0 == a.admin.stats()["basebackups"]
    (neon.folder / "agrees").touch()
    fresh.wait_running()


def test_hurry_ends_the_wait(make_fresh: FreshComputeFactory, neon: NeonServer) -> None:
    """Safekeepers that hang at the end hold up neither an immediate end nor the daemon's."""
    hangs = f"[ -e {neon.folder}/hangs ] && exec sleep 600; echo 0/1500000"
    fresh = make_fresh(pgbin=neon.program(hangs))
    fresh.publish(fresh.pageserver("a"), settings=neon.settings, safekeeper_connstrings=SAFEKEEPERS)
    fresh.daemon.start()
    fresh.wait_running()
    (neon.folder / "hangs").touch()

    with ThreadPoolExecutor(1) as pool:
        fast = pool.submit(fresh.daemon.call, "POST", "/terminate", timeout=60.0)
        wait_until("the question", lambda: len(neon.asked.read_text().splitlines()) == 2, 30)
        hurried, answer = fresh.daemon.call("POST", "/terminate?mode=immediate")

    assert (True, {"lsn": None}) == (hurried in (200, 201), answer)
    assert (200, {"lsn": None}) == fast.result()


def test_server_of_postgresql(make_fresh: FreshComputeFactory) -> None:
    """With PostgreSQL's own binary the newest backup is taken, and the log says so."""
    fresh = make_fresh()
    fresh.publish(fresh.pageserver("a"), safekeeper_connstrings=SAFEKEEPERS)

    fresh.daemon.start()
    found = fresh.wait_running()

    assert found["cluster"]["lsn"] is None
    assert "cannot synchronize safekeepers" in fresh.daemon.log_text()
