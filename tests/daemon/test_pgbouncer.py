"""A real PgBouncer takes new settings, and keeps them."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from compute_ctl.errors import ProbeError
from compute_ctl.sidecars.pgbouncer import Pgbouncer
from compute_ctl.sidecars.wanted import Wanted
from devstack.installation import free_port, give_away, make_folder
from devstack.wait import wait_until

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs PgBouncer (apt install pgbouncer)")


class Running:
    """One in a folder of its own."""

    def __init__(self) -> None:
        self.folder = make_folder("pgbouncer-")
        self.ini, self.port = self.folder / "pgbouncer.ini", free_port()
        self.connstr = f"host={self.folder} port={self.port} dbname=pgbouncer user=admin"
        self.ini.write_text(
            "[databases]\n[pgbouncer]\nlisten_addr =\nauth_type = any\nadmin_users = admin\n"
            f"unix_socket_dir = {self.folder}\nlisten_port = {self.port}\npool_mode = session\n"
        )
        self.sidecar = Pgbouncer(self.ini, self.connstr, None)

    def pool_mode(self) -> str:
        """Ask it."""
        with psycopg.connect(self.connstr, autocommit=True) as session:
            rows = psycopg.ClientCursor(session).execute("show config").fetchall()
        return str(next(value for name, value, *_ in rows if name == "pool_mode"))


@pytest.fixture
def pgbouncer() -> Iterator[Running]:
    """A running one; it refuses to run as root."""
    one = Running()
    give_away(one.folder)
    give_away(one.ini)
    owner = Path(one.folder).stat().st_uid
    assert PROGRAM is not None
    with subprocess.Popen([PROGRAM, "-q", one.ini], user=owner, cwd=one.folder) as process:
        wait_until("pgbouncer", lambda: list(one.folder.glob(".s.PGSQL.*")))
        yield one
        process.terminate()
    shutil.rmtree(one.folder)


def test_settings_are_in_force_and_kept(pgbouncer: Running) -> None:
    """Without a restart; the same again asks nothing of it."""
    assert "session" == pgbouncer.pool_mode()
    wanted = Wanted(pgbouncer={"pool_mode": "transaction"})
    assert pgbouncer.sidecar.apply(wanted)
    assert "transaction" == pgbouncer.pool_mode()
    changed = pgbouncer.ini.stat().st_mtime_ns
    assert pgbouncer.sidecar.apply(wanted)
    assert changed == pgbouncer.ini.stat().st_mtime_ns


def test_one_that_does_not_run_is_told_later(pgbouncer: Running) -> None:
    """The file has the settings; the failure is raised, so that somebody sees it."""
    dead = Pgbouncer(pgbouncer.ini, f"host=127.0.0.1 port={free_port()} dbname=pgbouncer", None)
    wanted = Wanted(pgbouncer={"pool_mode": "statement"})
    for _ in range(2):
        with pytest.raises(ProbeError, match="could not connect to pgbouncer"):
            dead.apply(wanted)
    assert "pool_mode = statement" in pgbouncer.ini.read_text()
