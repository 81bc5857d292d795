"""A standby outside a Patroni cluster follows its leader: real Patroni, real etcd."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack import patroni
from devstack.outside_standby import OutsideStandby
from devstack.patroni import PATIENCE, PatroniCluster, PatroniMember
from devstack.wait import wait_until
from tests.e2e.conftest import keep_logs

MISSING = patroni.missing()
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: patroni, etcd-server)"
)
AWAY_S = 20.0


class Follower:
    """A Patroni cluster, and a standby outside it with a daemon of its own."""

    def __init__(self, stack: ExitStack, *, by: str) -> None:
        """*by*: whether the daemon asks the ``api`` or the ``store``."""
        self.cluster = stack.enter_context(PatroniCluster())
        with self.cluster.leader().connect() as session:
            session.execute("create table story (n int)")
        follow = self.cluster.urls if by == "api" else self.cluster.store
        self.standby = stack.enter_context(OutsideStandby(self.cluster, follow=follow))

    @property
    def logs(self) -> dict[str, Path]:
        """Every log, by name."""
        return self.standby.logs | self.cluster.logs

    def follows(self, leader: PatroniMember, value: int) -> None:
        """Wait until the standby streams from *leader*, and has a row written there."""
        wait_until(
            f"the standby to stream from {leader.member}",
            lambda: (found := self.standby.receiver()) and (leader.port, "streaming") == found[1:],
            PATIENCE,
        )
        self.passes_on(leader, value)

    def passes_on(self, leader: PatroniMember, value: int) -> None:
        """Write a row on *leader* and wait until the standby has it."""
        with leader.connect() as session:
            session.execute("insert into story values (%s)", (value,))
        wait_until(
            f"row {value}",
            lambda: self.standby.server.query("select 1 from story where n = %s", value),
            PATIENCE,
        )


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
    cluster, standby = follower.cluster, follower.standby
    follower.follows(cluster.leader(), 1)

    second = cluster.switch_over()
    follower.follows(second, 2)

    cluster.wait_level(second)  # else the standby may have what the next leader has not
    second.kill()
    third = cluster.leader(but=second)
    follower.follows(third, 3)
    assert standby.server.value("select pg_is_in_recovery()") is True

    daemon = standby.daemon
    assert daemon is not None
    standby.publish(2, application="renamed")
    assert "applied" == daemon.refresh()
    follower.follows(third, 4)
    shown = standby.server.value("show primary_conninfo")
    assert f"host=127.0.0.1 port={third.port} user=postgres application_name=renamed" == shown
    standby.publish(1)
    assert "stale" == daemon.refresh()
    assert shown == standby.server.value("show primary_conninfo")


@pytest.mark.parametrize(
    ("follower", "end"), [("store", "killed"), ("api", "silent")], indirect=["follower"]
)
def test_the_stream_outlives_the_store(follower: Follower, end: str) -> None:
    """While etcd is away the log flows on, also past a restart of the daemon; then the next leads.

    Patroni's own replicas may lose `primary_conninfo` here, and stay behind (patroni#3686, #3717).
    """
    cluster, etcd = follower.cluster, follower.cluster.etcd
    leader = cluster.leader()
    follower.follows(leader, 0)
    before = follower.standby.receiver()
    if end == "killed":
        etcd.kill()
    else:
        etcd.suspend()
    daemon = follower.standby.daemon
    assert daemon is not None
    daemon.kill()
    daemon.start()
    row, back_at = 1, time.monotonic() + AWAY_S
    while time.monotonic() < back_at:
        follower.passes_on(leader, row)
        row += 1
    assert before == follower.standby.receiver(), "the same stream"
    cluster.wait_level(leader)
    if end == "killed":
        etcd.start()
    else:
        etcd.resume()  # it finds that the leader's lease has expired, so another one may lead

    wait_until(
        "the standby to stream from whoever leads",
        lambda: (
            (found := follower.standby.receiver())
            and (cluster.leader().port, "streaming") == found[1:]
        ),
        PATIENCE,
    )
    cluster.wait_level(cluster.leader())
    follower.follows(cluster.switch_over(), row)
