"""What becomes of a compute whose cluster cannot be made."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from compute_ctl.app.cluster_start import ClusterStart
from compute_ctl.decisions.model import Attempt, Outcome, RequestOrigin, Written
from compute_ctl.decisions.persistent_state import ClusterIdentity
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.document.generation import Marker
from compute_ctl.errors import PostgresError
from compute_ctl.node import Node
from compute_ctl.node.observer import Observer
from tests.support.clock import DATE, FakeClock
from tests.support.fakes import AbsentPostgres

LONG_S = 60.0
ATTEMPT = Attempt(
    number=1,
    who=RequestOrigin.OPERATOR,
    started_at=DATE,
    finished_at=DATE,
    duration_ms=1.0,
    outcome=Outcome.UNCHANGED,
)


@dataclass
class Maker:
    """A maker that fails as long as it is told to."""

    fails: bool = True
    tries: int = 0
    hangs: bool = False
    cancelled: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def make(self) -> None:
        """Do as told."""
        self.tries += 1
        self.begun.set()
        try:
            if self.hangs:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.fails:
            raise PostgresError("could not create the cluster: no room")

    def document_changed(self) -> None:
        """Ignore it."""


class Failed(Observer):
    """Notices that the status is `failed`."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Take a change of status."""
        if new is Status.FAILED:
            self.event.set()


def cluster_start(node: Node, maker: Maker, *, patience_s: float = LONG_S) -> ClusterStart:
    """Return a ClusterStart that has the cluster made by *maker*."""
    store: Any = None  # nothing is kept without a cluster
    made: Any = maker
    return ClusterStart(
        node=node,
        maker=made,
        clock=FakeClock(),
        store=store,
        identity=lambda: ClusterIdentity(compute_id="c", system_identifier="", data_dir_inode=""),
        version=lambda: None,
        patience_s=patience_s,
    )


@pytest.fixture
def node() -> Node:
    """A node whose Postgres is yet to be started."""
    made = Node(clock=FakeClock(), postgres=AbsentPostgres(), server_version=None)
    made.move(Event.CONFIGURE)
    made.move(Event.PUSH_STARTED_OFFLINE)
    return made


async def test_nobody_helps(node: Node) -> None:
    """While nobody asks for another try the reason is shown; after a while it gives up."""
    maker = Maker()

    assert await cluster_start(node, maker, patience_s=0.05).make() is False

    assert (1, Status.FAILED) == (maker.tries, node.status)
    assert "no room" in str(node.snapshot().error)


async def test_an_operator_helps(node: Node) -> None:
    """An operator's request has the cluster made again, even from the same document."""
    maker = Maker()
    start = cluster_start(node, maker)
    failed = Failed()
    node.subscribe(failed)
    making = asyncio.create_task(start.make())
    async with asyncio.timeout(LONG_S):
        await failed.event.wait()
        maker.fails = False
        start.on_attempt(ATTEMPT)

        assert await making is True

    assert 2 == maker.tries
    assert await start.make() is True
    assert 2 == maker.tries


async def test_the_first_document_is_no_help(node: Node) -> None:
    """The attempt that wrote it may end after the first try has begun: that begins no other."""
    marker = Marker.of(generation=1, nonce="a" * 32, body="")
    node.now_written(Written(marker=marker, rest="", upstream="", at=DATE))
    maker = Maker()
    start = cluster_start(node, maker, patience_s=0.05)
    making = asyncio.create_task(start.make())
    async with asyncio.timeout(LONG_S):
        await maker.begun.wait()
        start.on_attempt(replace(ATTEMPT, who=RequestOrigin.CLOCK))

        assert await making is False

    assert 1 == maker.tries


async def test_the_end_does_not_wait(node: Node) -> None:
    """A compute that is to end cancels what is being made."""
    maker = Maker(hangs=True)
    making = asyncio.create_task(cluster_start(node, maker).make())
    async with asyncio.timeout(LONG_S):
        await maker.begun.wait()
        node.terminate("fast", who="a test")

        assert await making is False
        await asyncio.sleep(0)

    assert maker.cancelled
