"""The tasks of a promotion, with a server that hangs, drops the request or tells nothing."""

import asyncio
from collections.abc import Callable

import pytest

from compute_common.errors import RequestError
from compute_ctl.decisions.promotion import PromotionStatus
from compute_ctl.errors import ProbeError, SqlError
from compute_ctl.node import Node
from compute_ctl.node.promotion import Promotion
from compute_ctl.reconciler.promotion_tasks import PromotionTasks
from tests.support.clock import RealClock
from tests.support.fakes import IdlePostgres

LIMIT_S = 10.0


class Server(IdlePostgres):
    """A standby whose promotion the test scripts; it is its own `Standby`."""

    in_recovery: bool | None = True

    def __init__(self) -> None:
        self.answer: bool | ProbeError = True
        self.taken = True
        """Whether it has taken the request, so that it cannot be withdrawn."""
        self.calls = 0
        """Of pg_promote that still run, as the next looks see."""
        self.on_look: Callable[[], None] = lambda: None
        self.positions = ["0/10", None, "0/20"]

    async def replayed(self) -> str | None:
        """Return the next position; at the last one, for ever."""
        return self.positions.pop(0) if len(self.positions) > 1 else self.positions[0]

    async def promote(self, *, within_s: float) -> bool:
        """Do what the test says."""
        if isinstance(self.answer, ProbeError):
            raise self.answer
        return self.answer

    async def promoting(self) -> bool:
        """Count down."""
        self.on_look()
        self.calls -= 1
        return self.calls >= 0

    async def withdraw(self) -> bool:
        """Withdraw what was not taken."""
        return not self.taken


class Rig:
    """The tasks, a server, and a promotion with its caller."""

    def __init__(self, lsn: str | None = None) -> None:
        self.server = Server()
        self.node = Node(clock=RealClock(), postgres=self.server)
        self.tasks = PromotionTasks(
            standby=self.server, postgres=self.server, clock=RealClock(), promote_s=0.0
        )
        self.promotion = Promotion(document=None, who="x", wal_flush_lsn=lsn, clock=RealClock())

    async def promote(self) -> str:
        """Promote, within some time."""
        return await asyncio.wait_for(self.tasks.promote(self.promotion), LIMIT_S)


async def test_the_log_is_waited_for() -> None:
    """Until it is replayed as far as was asked for; how far it is can be seen."""
    rig = Rig("0/1F")
    rig.promotion.wait_s = LIMIT_S
    assert "" == await rig.tasks.replay(rig.promotion)
    assert "0/20" == rig.promotion.view.replayed_lsn


async def test_a_server_that_says_no() -> None:
    """What it refuses, nothing promotes."""
    rig = Rig()
    rig.server.answer = SqlError("permission denied for function pg_promote")
    assert "postgres refused: permission denied for function pg_promote" == await rig.promote()


async def test_a_request_that_is_taken_back() -> None:
    """A server that has not begun to promote within the time is a standby still."""
    rig = Rig()
    rig.server.answer, rig.server.taken = False, False
    assert "postgres was not promoted within 0 s" == await rig.promote()
    assert not rig.promotion.over


async def test_a_request_that_cannot_be_taken_back() -> None:
    """Its caller is told, and the server is waited for: it becomes a primary."""
    rig = Rig()
    rig.server.answer = False
    work = asyncio.create_task(rig.promote())
    with pytest.raises(RequestError, match="it goes on, see /status"):
        await rig.promotion.wait(LIMIT_S)
    assert not work.done()
    rig.server.in_recovery = False
    assert "" == await work


async def test_a_restart_forgets_a_request() -> None:
    """Another server than the one that was asked is no primary, if it comes up as a standby."""
    rig = Rig()
    rig.server.answer = False
    work = asyncio.create_task(rig.promote())
    with pytest.raises(RequestError):
        await rig.promotion.wait(LIMIT_S)
    rig.server.pid, rig.server.in_recovery = 4712, None
    rig.server.in_recovery = True
    assert "postgres was not promoted within 0 s" == await work


@pytest.mark.parametrize("promoted", [True, False])
async def test_a_lost_session(promoted: bool) -> None:
    """Where the answer is lost, the server is watched as long as the call runs in it."""
    rig = Rig()
    rig.server.answer, rig.server.calls = ProbeError("the connection is lost"), 2

    def look() -> None:
        if promoted and rig.server.calls == 0:
            rig.server.in_recovery = False

    rig.server.on_look = look
    assert ("" if promoted else "the connection is lost") == await rig.promote()
    assert rig.server.calls < 2


async def test_the_same_promotion_twice() -> None:
    """The second caller joins the first; another one ends both, and is alone."""
    rig = Rig()
    promotions = rig.node.promotions

    def ask(lsn: str) -> asyncio.Task[object]:
        work = promotions.promote(None, who="x", wal_flush_lsn=lsn, wait_s=1.0, timeout_s=LIMIT_S)
        return asyncio.create_task(work)

    first, second = ask("0/1"), ask("0/1")
    await asyncio.sleep(0)
    joined = promotions.current
    third = ask("0/2")
    await asyncio.sleep(0)
    assert promotions.current is not joined
    for caller in (first, second):
        with pytest.raises(RequestError, match="superseded by another promotion"):
            await caller
    assert promotions.current is not None
    promotions.current.enter(PromotionStatus.PROMOTING)
    with pytest.raises(RequestError, match="another promotion is under way"):
        await ask("0/3")
    promotions.supersede("a pushed document")
    assert promotions.current is not None
    promotions.current.complete()
    await third
