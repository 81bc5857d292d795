"""What the library and its worker must not do to the server."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from devstack.installation import binary, run_as
from devstack.postgres import INITDB_OPTIONS, Postgres
from devstack.process import alive
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.pg.queries import Blocked, end_at_limit
from tests.support.daemon_stub import ACK, REFRESH, DaemonStub

WORKER = "SELECT worker_pid FROM neon_refresh.stat"
DEAD = "host=127.0.0.1 port=1"


def test_a_crash_of_the_worker_is_survived(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """SIGKILL of the worker restarts the server's processes, and it asks again afterwards."""
    server = make_neon({"neon_refresh.config_generation": "1.a.b"}, daemon=daemon)
    daemon.wait_for(ACK)
    start = server.log_position()
    worker = server.value(WORKER)
    daemon.clear()
    os.kill(worker, signal.SIGKILL)
    server.wait_log("database system is ready to accept connections", start=start)
    text = daemon.wait_for(REFRESH)[0].body["text"]
    assert "the server has restarted after a crash" == text
    daemon.clear()

    assert server.value("SELECT neon_refresh.request('again')") is True
    assert "again" == daemon.wait_for(REFRESH)[0].body["text"]


def test_death_of_the_postmaster_ends_the_worker(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """SIGKILL of the postmaster takes the worker along, even in mid-request."""
    server = make_neon({"neon_refresh.request_timeout": "60s"}, daemon=daemon)
    daemon.hang()
    server.value("SELECT neon_refresh.request('now')")
    daemon.wait_for(REFRESH)
    pid = server.value(WORKER)

    assert server.process is not None
    server.process.kill()
    server.process.wait(5)
    wait_until("the worker's end", lambda: not alive(pid))


def standby_of(primary: Postgres, server: Postgres, primary_conninfo: str) -> None:
    """Make the stopped `server`, a copy of the primary's data, its standby."""
    (server.data / "standby.signal").touch()
    server.configure({"primary_conninfo": primary_conninfo, "hot_standby": True})
    del primary


def test_a_standby_has_a_worker_too(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """During recovery the worker runs, acknowledges and asks; promotion leaves it alone."""
    server = make_neon(
        {"neon_refresh.config_generation": "1.a.b"}, daemon=daemon, name="standby", start=False
    )
    standby_of(server, server, "")
    server.start()
    daemon.wait_for(ACK)
    assert server.value("SELECT pg_is_in_recovery()") is True
    server.value("SELECT neon_refresh.request('from a standby')")
    daemon.wait_for(REFRESH)

    pid = server.value(WORKER)
    assert server.value("SELECT pg_promote()") is True
    assert server.value(WORKER) == pid


def test_no_slot_for_the_worker(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """With max_worker_processes used up the server starts, warns, and shows suspicion."""
    server = make_neon(
        {"max_worker_processes": 0, "neon_refresh.query_cancel_after": 0},
        daemon=daemon,
        pageservers=DEAD,
    )
    assert 1 == server.log_contains("WARNING:  the server cannot heal itself")
    assert server.value("SELECT neon_refresh.request('x')") is False
    with Blocked(server, "SELECT neon_refresh.read_page('t', 0)") as query:
        state = "SELECT state FROM neon_refresh.shards"
        wait_until("suspicion", lambda: "suspected" == server.value(state))
        end_at_limit(server)
        with pytest.raises(Exception, match="within 10 ms") as caught:
            query.join()
        assert "refresh worker does not run" in str(caught.value)
    assert "suspected" == server.value(state)
    assert [] == daemon.posts


def test_drop_database_does_not_wait_for_the_worker(
    make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """DROP DATABASE finishes while the worker is in a request."""
    server = make_neon({"neon_refresh.request_timeout": "60s"}, daemon=daemon)
    server.query("CREATE DATABASE victim")
    daemon.hang()
    server.value("SELECT neon_refresh.request('now')")
    daemon.wait_for(REFRESH)

    with server.connect(options="-c statement_timeout=20s") as connection:
        connection.execute("DROP DATABASE victim")


def test_pg_upgrade_accepts_the_library(make_neon: MakeNeon) -> None:
    """pg_upgrade --check passes with the library preloaded in both clusters."""
    if subprocess.run([binary("psql"), "-V"], check=False, capture_output=True).returncode != 0:
        pytest.skip("the psql of this server does not run, which pg_upgrade needs")
    old = make_neon(name="old")
    new = make_neon(name="new", start=False)
    old.stop()
    shutil.rmtree(new.data)
    initdb = [binary("initdb"), "-D", str(new.data), *INITDB_OPTIONS]
    subprocess.run(initdb, check=True, cwd="/", capture_output=True, timeout=60, **run_as())
    with (new.data / "postgresql.conf").open("a") as conf:
        conf.write("shared_preload_libraries = 'neon_refresh'\n")

    command = [binary("pg_upgrade"), "--check", "-U", "postgres"]
    command += ["-d", str(old.data), "-D", str(new.data)]
    command += ["-b", str(Path(binary("postgres")).parent), "-p", str(old.port)]
    command += ["-P", str(new.port)]
    done = subprocess.run(
        command,
        check=False,
        cwd=str(new.folder),
        capture_output=True,
        text=True,
        timeout=50,
        **run_as(),
    )
    assert "Clusters are compatible" in done.stdout, done.stdout + done.stderr
