"""Not only pageservers: a standby whose primary has moved finds the new one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from devstack import fork_server
from devstack.daemon import Daemon
from devstack.installation import binary, free_port, give_away, make_folder, replace_file, run_as
from devstack.postgres import Postgres, Template
from devstack.wait import wait_until


class Cluster:
    """A primary, a standby that can be promoted, and the standby under test with its daemon."""

    def __init__(self, stack: ExitStack, template: Template) -> None:
        self.first = stack.enter_context(Postgres(template, name="first"))
        self.first.configure({"wal_keep_size": "64MB"})
        self.first.start()
        self.first.query("create table story (n int)")
        self.second = self._standby(stack, "second")
        self.second.configure({"primary_conninfo": self.first.dsn()})
        self.second.start()
        self.standby = self._standby(stack, "standby")
        self.config = self.standby.folder / "config.json"
        port = free_port()
        self.standby.configure(
            {
                "shared_preload_libraries": "neon_refresh",
                "neon.extension_server_port": port,
                "wal_retrieve_retry_interval": "200ms",
                "neon_refresh.connect_timeout": "1s",
            }
        )
        self.standby.start()
        self.daemon = Daemon(
            pgdata=self.standby.data,
            connstr=self.standby.conninfo,
            port=port,
            log=self.standby.folder / "compute_ctl.log",
            pgbin=binary("postgres"),
            config=self.config,
        )
        self.publish(self.first.dsn())
        stack.enter_context(self.daemon)

    def _standby(self, stack: ExitStack, name: str) -> Postgres:
        """Copy the primary into a server that will follow somebody."""
        folder = make_folder("base-")
        stack.callback(subprocess.run, ["rm", "-rf", str(folder)], check=True)
        copy = folder / "data"
        command = [binary("pg_basebackup"), "-D", str(copy), "-d", self.first.dsn(), "-c", "fast"]
        subprocess.run(command, check=True, cwd="/", timeout=30, **run_as())
        (copy / "standby.signal").touch()
        give_away(copy / "standby.signal")
        return stack.enter_context(Postgres(copy, name=name))

    def publish(self, primary_conninfo: str) -> None:
        """Make the document name this primary."""
        option = {"name": "primary_conninfo", "value": primary_conninfo, "vartype": "string"}
        spec = {"mode": "Replica", "cluster": {"settings": [option]}}
        replace_file(self.config, json.dumps({"spec": spec}))

    def follows(self, primary: Postgres, value: int) -> None:
        """Write a row on *primary* and wait until the standby has it."""
        primary.query(f"insert into story values ({value})")
        wait_until(
            f"row {value} on the standby",
            lambda: self.standby.query("select 1 from story where n = %s", value),
            20,
        )


def run_cli(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command for people."""
    return fork_server.run(
        [sys.executable, "-m", "compute_ctl", *words], timeout=30,
    )  # fmt: skip


@pytest.fixture
def cluster(template: Template) -> Iterator[Cluster]:
    """Return the three servers, the standby following the first primary."""
    with ExitStack() as stack:
        yield Cluster(stack, template)


@pytest.fixture
def stranger() -> Iterator[Postgres]:
    """Return a primary with another system identifier."""
    other = Template()
    with Postgres(other, name="stranger") as server:
        yield server.start()
    other.remove()


def test_a_standby_follows_its_primary(cluster: Cluster) -> None:
    """The primary dies, another is promoted: the standby asks, is told, and streams from it."""
    cluster.follows(cluster.first, 1)
    cluster.second.query("select pg_promote()")
    cluster.first.stop("immediate")

    suspicion = cluster.daemon.wait_status(
        "the standby's complaint", lambda found: found["refresh"]["suspicion"]
    )
    assert "primary" == suspicion["source"]
    assert "dead" == suspicion["class"]
    cluster.publish(cluster.second.dsn())

    cluster.follows(cluster.second, 2)
    cluster.daemon.wait_status("the end of suspicion", lambda found: found["status"] == "running")
    assert cluster.standby.value("select pg_is_in_recovery()") is True
    assert cluster.standby.value("show primary_conninfo") == cluster.second.dsn()


def test_a_stranger_is_no_primary(cluster: Cluster, stranger: Postgres) -> None:
    """A primary of another cluster is certain trouble; the right one ends it."""
    cluster.publish(stranger.dsn())
    cluster.daemon.refresh()
    suspicion = cluster.daemon.wait_status(
        "the standby's complaint", lambda found: found["refresh"]["suspicion"]
    )
    assert "primary" == suspicion["source"]
    assert "wrong" == suspicion["class"]
    cluster.publish(cluster.first.dsn())

    cluster.follows(cluster.first, 3)


def test_in_sync_is_what_runs(cluster: Cluster) -> None:
    """Whom the standby really follows counts, not what its files say, nor what the source says."""
    cluster.follows(cluster.first, 1)
    daemon, standby = cluster.daemon, cluster.standby
    dead = f"host=127.0.0.1 port={free_port()} user=postgres"
    standby.query(f"ALTER SYSTEM SET primary_conninfo = '{dead}'")
    standby.query("SELECT pg_reload_conf()")

    daemon.wait_status("the drift", lambda found: not found["config"]["in_sync"])
    daemon.wait_status("the complaint", lambda found: found["refresh"]["suspicion"])
    code, body = daemon.call("POST", "/refresh_configuration?wait=20")
    auto = f"primary_conninfo: overridden by {standby.data}/postgresql.auto.conf:3"
    assert (200, "unchanged", False) == (code, body["outcome"], body["in_sync"])
    assert auto == body["reason"]
    assert 503 == daemon.call("GET", "/syncz")[0]
    assert 0 == daemon.metric("compute_ctl_in_sync")
    shown = run_cli("status", "-D", str(standby.data))
    assert "ALTER SYSTEM RESET primary_conninfo; SELECT pg_reload_conf();" in shown.stdout
    assert "publish the new ones" not in shown.stdout
    assert 1 == run_cli("refresh", "--wait", "-D", str(standby.data)).returncode
    assert auto in run_cli("diff", "-D", str(standby.data)).stdout, "as the daemon says"
    diff = ("diff", "-D", str(standby.data), "-C", standby.conninfo)
    differs = run_cli(*diff)
    assert 1 == differs.returncode
    assert f"-primary_conninfo = '{dead}'" in differs.stdout

    standby.query("ALTER SYSTEM RESET primary_conninfo")
    # Nobody reloads: the daemon sees that the server runs with older values than its files have.
    daemon.call("POST", "/refresh_configuration?wait=20")
    daemon.wait_status("the end of the drift", lambda found: found["config"]["in_sync"])
    assert cluster.first.dsn() == standby.value("SHOW primary_conninfo")
    assert (0, "") == (run_cli(*diff).returncode, run_cli(*diff).stdout)
    cluster.follows(cluster.first, 2)
