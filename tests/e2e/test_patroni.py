"""A standby outside a Patroni cluster follows its leader: real Patroni, real etcd."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from devstack import patroni
from devstack.daemon import Daemon
from devstack.installation import binary, free_port, give_away, make_folder, replace_file
from devstack.patroni import PatroniCluster, PatroniMember
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.e2e.conftest import keep_logs

MISSING = patroni.missing()
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: patroni, etcd-server)"
)
PATIENCE = 120.0
AWAY_S = 20.0


class Follower:
    """A Patroni cluster, and a standby that is no member of it, with its daemon."""

    def __init__(self, stack: ExitStack, *, by: str) -> None:
        """*by*: whether the daemon asks the ``api`` or the ``store``."""
        self.cluster = stack.enter_context(PatroniCluster())
        with self.cluster.leader().connect() as session:
            session.execute("create table story (n int)")
        copy = make_folder("base-")
        stack.callback(shutil.rmtree, copy, ignore_errors=True)
        self.cluster.base_backup(copy / "data")
        (copy / "data" / "standby.signal").touch()
        give_away(copy / "data" / "standby.signal")
        self.standby = stack.enter_context(Postgres(copy / "data", name="outside"))
        port = free_port()
        self.standby.configure(
            {
                "shared_preload_libraries": "neon_refresh",
                "neon.extension_server_port": port,
                "wal_retrieve_retry_interval": "200ms",
                "max_connections": 100,  # with less than the primary has, no standby starts
                "max_wal_senders": 10,
            }
        )
        with (self.standby.data / "postgresql.conf").open("a") as conf:
            conf.write("include_if_exists = 'test.conf'\n")
        self.standby.start()
        self.template = self.standby.folder / "config.json"
        self.publish(1)
        self.daemon = Daemon(
            pgdata=self.standby.data,
            connstr=self.standby.conninfo,
            port=port,
            log=self.standby.folder / "compute_ctl.log",
            pgbin=binary("postgres"),
            config=self.template,
            extra=["--patroni", self.cluster.urls if by == "api" else self.cluster.store],
        )
        stack.enter_context(self.daemon)

    @property
    def logs(self) -> dict[str, Any]:
        """Every log, by name."""
        own = {"daemon": self.daemon.log, "standby": self.standby.log}
        return own | self.cluster.logs

    def publish(self, generation: int, *, application: str = "outside") -> None:
        """Write the template."""
        primary = f"user=postgres application_name={application}"
        settings = [{"name": "primary_conninfo", "value": primary, "vartype": "string"}]
        spec = {"mode": "Replica", "generation": generation, "cluster": {"settings": settings}}
        replace_file(self.template, json.dumps({"spec": spec}))

    def follows(self, leader: PatroniMember, value: int) -> None:
        """Wait until the standby streams from *leader*, and has a row written there."""

        def streams() -> bool:
            found = self.standby.query("select status, sender_port from pg_stat_wal_receiver")
            return found == [("streaming", leader.port)]

        wait_until(f"the standby to stream from {leader.member}", streams, PATIENCE)
        self.passes_on(leader, value)

    def passes_on(self, leader: PatroniMember, value: int) -> None:
        """Write a row on *leader* and wait until the standby has it."""
        with leader.connect() as session:
            session.execute("insert into story values (%s)", (value,))
        wait_until(
            f"row {value}",
            lambda: self.standby.query("select 1 from story where n = %s", value),
            PATIENCE,
        )

    def receiver(self) -> tuple[Any, ...] | None:
        """Process, server and state of the connection to the primary."""
        rows = self.standby.query("select pid, sender_port, status from pg_stat_wal_receiver")
        return rows[0] if rows else None


@pytest.fixture
def follower(request: pytest.FixtureRequest) -> Iterator[Follower]:
    """Return a cluster and the standby that follows it."""
    with ExitStack() as stack:
        made = Follower(stack, by=request.param)
        keep_logs(request, made)
        yield made


@pytest.mark.parametrize("follower", ["api", "store"], indirect=True)
def test_a_standby_follows_the_leader(follower: Follower) -> None:
    """By a planned switchover, by the death of the leader, and the template by its version."""
    cluster, daemon = follower.cluster, follower.daemon
    follower.follows(cluster.leader(), 1)

    second = cluster.switch_over()
    follower.follows(second, 2)

    cluster.wait_level(second)  # else the standby may have what the next leader has not
    second.kill()
    third = cluster.leader(but=second)
    follower.follows(third, 3)
    assert follower.standby.value("select pg_is_in_recovery()") is True

    follower.publish(2, application="renamed")
    assert "applied" == daemon.refresh()
    follower.follows(third, 4)
    shown = follower.standby.value("show primary_conninfo")
    assert f"host=127.0.0.1 port={third.port} user=postgres application_name=renamed" == shown
    follower.publish(1)
    assert "stale" == daemon.refresh()
    assert shown == follower.standby.value("show primary_conninfo")


@pytest.mark.parametrize(
    ("follower", "end"), [("store", "killed"), ("api", "silent")], indirect=["follower"]
)
def test_the_stream_outlives_the_store(follower: Follower, end: str) -> None:
    """While etcd is away the log flows on; when it is back, the next leader is followed.

    Patroni's own replicas may lose `primary_conninfo` here, and stay behind (patroni#3686, #3717).
    """
    cluster, etcd = follower.cluster, follower.cluster.etcd
    leader = cluster.leader()
    follower.follows(leader, 0)
    before = follower.receiver()
    if end == "killed":
        etcd.kill()
    else:
        etcd.suspend()
    row, back_at = 1, time.monotonic() + AWAY_S
    while time.monotonic() < back_at:
        follower.passes_on(leader, row)
        row += 1
    assert before == follower.receiver(), "the same stream"
    cluster.wait_level(leader)
    if end == "killed":
        etcd.start()
    else:
        etcd.resume()  # it finds that the leader's lease has expired, so another one may lead

    wait_until(
        "the standby to stream from whoever leads",
        lambda: (
            (found := follower.receiver()) and found[1:] == (cluster.leader().port, "streaming")
        ),
        PATIENCE,
    )
    cluster.wait_level(cluster.leader())
    follower.follows(cluster.switch_over(), row)
