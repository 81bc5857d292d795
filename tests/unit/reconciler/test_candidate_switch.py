"""A move to another pageserver of the document: written as any change, and undone if refused."""

import asyncio
import json
from pathlib import Path

import pytest

from compute_common.document.document import Document, decode_document
from compute_ctl.decisions.model import PUSH, Outcome, RequestOrigin, Suspicion
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.document.spec_sources import CONNSTRING
from compute_ctl.node import snapshot
from compute_ctl.reconciler.candidate_switch import CandidateSwitch
from devstack.document import attached
from tests.support.clock import FakeClock
from tests.support.fakes import IdlePostgres
from tests.unit.reconciler.road import BAD, Road, road
from tests.unit.reconciler.test_loop import LIMIT_S, held, running

A, B, C = "host=a", "host=b", "host=c"


def document(*shards: list[str], version: int = 1) -> Document:
    """Return a document with these pageservers of each shard."""
    found = attached(
        tenant="a" * 32,
        timeline="b" * 32,
        pageservers=shards,
        stripe_size=8 if len(shards) > 1 else None,
        generation=version,
    )
    found["spec"]["storage_auth_token"] = "token"
    return decode_document(json.dumps(found).encode())


class Moving:
    """A compute with these pageservers."""

    def __init__(self, one: Road) -> None:
        self.road = one
        self.clock = FakeClock()
        self.switch = CandidateSwitch(
            node=one.node, store=one.store, activation=one.activation, clock=self.clock
        )

    async def apply(self, *shards: list[str], version: int = 1) -> Outcome:
        """Push a document."""
        found = document(*shards, version=version)
        return (await self.road.applier.apply(found, source=PUSH)).outcome

    def complain(self, shard: int = 0, *, trouble: str = "dead", marker: str | None = None) -> None:
        """Complain of a pageserver as Postgres does."""
        self.road.node.requests.add(
            self.clock.now,
            source=RequestOrigin.WORKER,
            suspicion=Suspicion(source="pageserver", shard=shard, trouble=trouble),
            force=False,
            marker=self.marker if marker is None else marker,
        )

    @property
    def marker(self) -> str:
        """Of what is in the file."""
        written = self.road.node.config.written
        return str(written.marker) if written else ""

    @property
    def in_use(self) -> str:
        """The pageservers in the file."""
        written = self.road.node.config.written
        return written.servers[CONNSTRING] if written else ""


async def test_moves_once_for_each_complaint(tmp_path: Path) -> None:
    """A report of the time before a move is about another pageserver."""
    async with road(tmp_path) as one:
        it = Moving(one)
        await it.apply([A, B, C])
        old = it.marker
        assert not it.switch.due
        it.complain(marker="")  # somebody else may say so, too
        assert not it.switch.due
        it.complain(marker=old)
        assert it.switch.due

        result = await it.switch.switch()

        assert Outcome.APPLIED is result.outcome
        assert "shard 0: pageserver b:5432 instead of a:5432" == result.reason
        assert (B, "token") == (it.in_use, one.state.token())
        it.complain(marker=old)
        assert not it.switch.due
        it.complain()
        assert it.switch.due


async def test_what_was_left_is_reported_still(tmp_path: Path) -> None:
    """The complaint ends with the move, but the pageserver is dead all the same."""
    async with road(tmp_path) as one:
        it = Moving(one)
        await it.apply([A, B])
        it.complain()
        await it.switch.switch()
        one.node.requests.clear_suspicion()

        def suspected() -> list[tuple[str, str | None]]:
            found = snapshot.suspicions(one.node, it.clock)
            return [(one.suspicion.trouble, one.endpoint) for one in found]

        assert [("dead", "a:5432")] == suspected()
        it.complain(trouble="wrong")
        assert [("wrong", "b:5432"), ("dead", "a:5432")] == suspected()
        await it.apply([C, B], version=2)
        one.node.requests.clear_suspicion()
        assert [] == suspected()
        await it.apply([A, B], version=3)
        it.complain()
        await it.switch.switch()
        one.node.requests.clear_suspicion()
        it.clock.now += 30.0
        assert [] == suspected()


async def test_two_that_fail_are_not_written_in_turns(tmp_path: Path) -> None:
    """The first is tried again when it has rested, and Postgres still complains."""
    async with road(tmp_path) as one:
        it = Moving(one)
        await it.apply([A, B])
        it.complain()
        await it.switch.switch()
        it.complain()
        assert not it.switch.due
        it.clock.now += 10.0
        assert it.switch.due
        await it.switch.switch()
        assert A == it.in_use


async def test_the_same_document_keeps_it(tmp_path: Path) -> None:
    """Also in a newer version; in sync, since the document names it."""
    async with road(tmp_path) as one:
        it = Moving(one)
        await it.apply([A, B])
        it.complain()
        await it.switch.switch()
        assert one.node.snapshot().config.in_sync

        assert Outcome.UNCHANGED is await it.apply([A, B], version=2)
        assert (B, True) == (it.in_use, one.node.snapshot().config.in_sync)
        it.complain()
        it.clock.now += 10.0
        await it.switch.switch()
        written = one.node.config.written
        assert written is not None
        assert ("2", A) == (str(written.version), it.in_use)


@pytest.mark.parametrize(
    ("trouble", "moved"), [("dead", f"{B},{C},{B}"), ("wrong", f"{B},{C},{A}")]
)
async def test_all_shards_of_a_dead_one_move(tmp_path: Path, trouble: str, moved: str) -> None:
    """One that has lost a shard may have the others still."""
    async with road(tmp_path) as one:
        it = Moving(one)
        await it.apply([A, B], [C, A], [A, B])
        it.complain(0, trouble=trouble)
        await it.switch.switch()
        assert moved == it.in_use


async def test_a_refused_one_is_taken_back(tmp_path: Path) -> None:
    """What was in the file is written again, and the refused one is not tried at once."""
    async with road(tmp_path) as one:
        it = Moving(one)
        await it.apply([A, B])
        it.complain()
        one.verifier.verdicts = [BAD]

        result = await it.switch.switch()

        assert (Outcome.REJECTED, A) == (result.outcome, it.in_use)
        it.complain()
        assert not it.switch.due


async def test_an_unproven_move_is_not_repeated(tmp_path: Path) -> None:
    """Postgres hangs: the file stays as it is."""
    async with road(tmp_path) as one:
        it = Moving(one)
        await it.apply([A, B, C])
        it.complain()
        one.verifier.verdicts = [Verdict(proof=Proof.NONE)]
        assert Outcome.UNPROVEN is (await it.switch.switch()).outcome
        assert (False, B) == (it.switch.due, it.in_use)


async def test_a_restart_keeps_it(tmp_path: Path) -> None:
    """The file says which one is in use, and that it is of the document."""
    async with road(tmp_path) as one:
        it = Moving(one)
        await it.apply([A, B])
        it.complain()
        await it.switch.switch()
        await one.recovery.restore()
        written = one.node.config.written
        assert written is not None
        assert (False, B) == (written.is_fallback, it.in_use)


async def test_a_fetch_under_way_is_not_waited_for() -> None:
    """It is made again afterwards, for those who wait for its outcome."""
    async with running(IdlePostgres()) as stage:
        await held(stage, long_poll=False)
        waiter = asyncio.ensure_future(stage.node.requests.wait(stage.node.requests.requested, 9.0))
        stage.source.hold_fetches, stage.candidates.due = False, True
        stage.clock.now += 1.0
        stage.complain()

        assert Outcome.UNCHANGED is await asyncio.wait_for(waiter, LIMIT_S)
        assert (1, []) == (stage.candidates.switched, stage.observed.illegal)
        ended = [(it.who, it.outcome) for it in stage.observed.attempts[1:]]
        assert ("candidate", Outcome.APPLIED) == ended[1]
        assert Outcome.SUPERSEDED is ended[0][1]
