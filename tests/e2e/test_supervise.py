"""The daemon runs Postgres itself: initdb, start, configuration, end."""

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.compute import TENANT, TIMELINE
from devstack.daemon import Daemon
from devstack.document import attached
from devstack.installation import binary, free_port, give_away, make_folder, os_user
from devstack.process import alive
from devstack.wait import wait_until


class Supervised:
    """A daemon in supervise mode on an empty data directory."""

    def __init__(self) -> None:
        self.folder = make_folder("sup-")
        self.data = self.folder / "data"
        self.data.mkdir(mode=0o700)
        give_away(self.data)
        self.config = self.folder / "config.json"
        self.port = free_port()
        self.connstr = f"host={self.folder} port={self.port} user=cloud_admin dbname=postgres"
        self.daemon = Daemon(
            pgdata=self.data,
            connstr=self.connstr,
            port=free_port(),
            log=self.folder / "compute_ctl.log",
            pgbin=binary("postgres"),
            config=self.config,
            attach=False,
        )

    def publish(self, spec: dict[str, Any] | None = None, **settings: str) -> None:
        """Write the configuration file of the daemon; *spec* is for fields of the spec."""
        everything = {
            "port": str(self.port),
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            **settings,
        }
        document = attached(tenant=TENANT, timeline=TIMELINE, settings=everything)
        cluster = (spec or {}).pop("cluster", {})
        document["spec"] |= spec or {}
        document["spec"]["cluster"] |= cluster
        self.config.write_text(json.dumps(document))

    def show(self, name: str) -> str:
        """Return a setting of the running server."""
        with psycopg.connect(self.connstr) as connection:
            row = connection.execute(f"show {name}".encode()).fetchone()
        assert row is not None
        value: str = row[0]
        return value

    def latest_checkpoint(self) -> str:
        """Return where the server's last checkpoint is in its log, as its own program says."""
        program = [binary("pg_controldata"), "-D", str(self.data)]
        told = subprocess.run(program, capture_output=True, check=True, env={"LC_ALL": "C"})
        return dict(
            line.split(":", maxsplit=1) for line in told.stdout.decode().splitlines() if ":" in line
        )["Latest checkpoint location"].strip()

    def postmaster(self) -> int:
        """Return the server's pid."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])


@pytest.fixture
def supervised() -> Iterator[Supervised]:
    """A daemon that is about to be started; ended and removed after the test."""
    made = Supervised()
    yield made
    if made.daemon.child is not None and made.daemon.child.poll() is None:
        made.daemon.stop()
    shutil.rmtree(made.folder, ignore_errors=True)


def running(supervised: Supervised) -> None:
    """Start the daemon and wait until Postgres runs."""
    supervised.daemon.start()
    supervised.daemon.wait_status("running", lambda found: found["status"] == "running")
    supervised.daemon.wait_status("in sync", lambda found: found["config"]["in_sync"])


def test_from_nothing_to_running_and_back(supervised: Supervised) -> None:
    """An empty data directory becomes a server with the wanted settings; terminate stops both."""
    supervised.publish(work_mem="7MB")
    running(supervised)
    assert "7MB" == supervised.show("work_mem")
    pid = supervised.postmaster()

    code, body = supervised.daemon.call("POST", "/terminate")

    assert 200 == code
    assert body == {"lsn": supervised.latest_checkpoint()}
    assert supervised.daemon.child is not None
    assert 0 == supervised.daemon.child.wait(20)
    assert not alive(pid)


def test_immediate_end_proves_no_lsn(supervised: Supervised) -> None:
    """Without a shutdown checkpoint nobody knows where the log ends."""
    supervised.publish()
    running(supervised)

    assert (200, {"lsn": None}) == supervised.daemon.call("POST", "/terminate?mode=immediate")
    assert supervised.daemon.child is not None
    assert 0 == supervised.daemon.child.wait(20)


def test_subscribers_wait_until_subscriptions_are_dropped(supervised: Supervised) -> None:
    """A server starts without them, and has them once the work is done; it is done once."""
    name, held = "neon.disable_logical_replication_subscribers", "subscribers are disabled until"

    def wish(owner: str) -> dict[str, Any]:
        databases = [{"name": "shop", "owner": owner}]
        cluster = {"roles": [{"name": "keeper"}], "databases": databases}
        fields = {"skip_pg_catalog_updates": False, "drop_subscriptions_before_start": True}
        return {"cluster": cluster, **fields}

    def held_back() -> bool:
        with psycopg.connect(supervised.connstr) as session:
            return session.execute(f"SELECT current_setting('{name}', true)").fetchone() == (
                "true",
            )

    supervised.publish(wish("nobody"))
    running(supervised)
    daemon = supervised.daemon
    daemon.wait_status("the failure", lambda found: found["postgres"]["catalog_error"])
    assert held_back()

    supervised.publish(wish("keeper"))
    daemon.refresh()
    wait_until("subscribers to run", lambda: "subscribers are enabled" in daemon.log_text())
    wait_until("the reload", lambda: not held_back())
    assert not (supervised.data / "compute_ctl_subscribers.conf").exists()

    before = daemon.log_text().count(held)
    assert (1, 0) == (before, daemon.stop())
    running(supervised)
    assert (1, False) == (daemon.log_text().count(held), held_back())


def test_reload_without_restart(supervised: Supervised) -> None:
    """A changed setting arrives by reload: the postmaster stays the same."""
    supervised.publish(work_mem="7MB")
    running(supervised)
    pid = supervised.postmaster()

    supervised.publish(work_mem="8MB")

    assert "applied" == supervised.daemon.refresh()
    assert "8MB" == supervised.show("work_mem")
    assert supervised.postmaster() == pid


def test_a_killed_daemon_adopts_its_postgres(supervised: Supervised) -> None:
    """After kill -9 the next daemon takes the running server over, and can stop it."""
    supervised.publish(work_mem="7MB")
    running(supervised)
    pid = supervised.postmaster()

    supervised.daemon.kill()
    running(supervised)

    assert supervised.postmaster() == pid
    assert 0 == supervised.daemon.stop()
    wait_until("the end of postgres", lambda: not alive(pid))


def test_postgres_that_ends_takes_the_daemon_with_it(supervised: Supervised) -> None:
    """The daemon's exit status is Postgres's own."""
    supervised.publish()
    running(supervised)

    os.kill(supervised.postmaster(), 2)

    assert supervised.daemon.child is not None
    assert 0 == supervised.daemon.child.wait(20)


def test_a_generation_that_postgres_does_not_start_on(supervised: Supervised) -> None:
    """A library that is not there kills the next start: the good rest, with the newest servers."""
    supervised.publish(work_mem="7MB", primary_conninfo="host=old")
    running(supervised)
    supervised.publish(
        work_mem="8MB", primary_conninfo="host=new", shared_preload_libraries="no_such_library"
    )
    assert "applied" == supervised.daemon.refresh()
    assert 0 == supervised.daemon.stop()

    supervised.daemon.start()
    supervised.daemon.wait_status("running", lambda found: found["status"] == "running")

    assert ("7MB", "host=new") == (supervised.show("work_mem"), supervised.show("primary_conninfo"))
    wait_until("the quarantine", lambda: supervised.daemon.status()["config"]["quarantined"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another user")
def test_root_leaves_only_files_that_postgres_can_read(supervised: Supervised) -> None:
    """Started as root, everything in the data directory belongs to the server's user."""
    supervised.publish()
    running(supervised)
    supervised.daemon.refresh()

    user = os_user()
    assert user is not None
    owner = pwd.getpwnam(user).pw_uid
    found = [supervised.data, *supervised.data.rglob("*")]

    assert [] == [path for path in found if path.lstat().st_uid != owner]
    assert 0o600 == stat.S_IMODE((supervised.data / "compute_ctl" / "ctl.sock").stat().st_mode)
    assert Path(f"/proc/{supervised.daemon.pid}").stat().st_uid == owner


def test_an_end_before_any_configuration(supervised: Supervised) -> None:
    """A daemon that has nothing to start Postgres with ends when it is told to."""
    supervised.daemon.start()
    child = supervised.daemon.child
    assert child is not None
    child.signal(signal.SIGTERM)

    assert 0 == child.wait(10)


def test_an_end_while_the_control_plane_is_silent(supervised: Supervised) -> None:
    """Nothing is started any more, though there is an earlier generation to start with."""
    supervised.publish()
    running(supervised)
    supervised.daemon.call("POST", "/terminate")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        again = Daemon(
            pgdata=supervised.data,
            connstr=supervised.connstr,
            port=free_port(),
            log=supervised.folder / "again.log",
            pgbin=binary("postgres"),
            control_plane=f"http://127.0.0.1:{silent.getsockname()[1]}",
            attach=False,
        )
        with again:
            child = again.child
            assert child is not None
            child.signal(signal.SIGTERM)
            assert 0 == child.wait(10)

    assert not (supervised.data / "postmaster.pid").exists()


def test_a_fast_end_can_be_hurried(supervised: Supervised) -> None:
    """Where the shutdown checkpoint does not end, somebody may ask for an immediate end."""
    supervised.publish()
    running(supervised)
    with psycopg.connect(supervised.connstr) as session:
        row = session.execute(
            "select pid from pg_stat_activity where backend_type = 'checkpointer'"
        ).fetchone()
    assert row is not None
    os.kill(row[0], signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        fast = pool.submit(supervised.daemon.call, "POST", "/terminate")
        supervised.daemon.wait_status(
            "a fast end", lambda found: found["status"] == "termination_pending_fast"
        )
        code, _ = supervised.daemon.call("POST", "/terminate?mode=immediate")

        assert (200, 200) == (code, fast.result()[0])
    assert supervised.daemon.child is not None
    supervised.daemon.child.wait(5)
