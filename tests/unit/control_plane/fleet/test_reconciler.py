"""The reconciler: documents follow the storage controller, whatever became of notifications."""

import asyncio
from contextlib import suppress

import pytest

from control_plane.decisions.model import Placement, PlacementSource, ReportedDocument
from devstack.wait import until
from tests.unit.control_plane.fleet.parts import Fleet, document, suspicion
from tests.unit.control_plane.records import TENANT, node

ON_2 = Placement(nodes=(2,))


async def test_a_lost_notification_is_made_good() -> None:
    """The storage controller is asked, not waited for."""
    fleet = await Fleet().with_compute("a")
    fleet.controller.places[TENANT] = ON_2
    await fleet.reconciler.reconcile_all()
    assert "postgresql://no_user@ps-2:6400" == fleet.published()["pageserver_connstring"]


async def test_an_unknown_node_is_looked_up() -> None:
    """A placement may name a node that was just added."""
    fleet = await Fleet().with_compute("a")
    fleet.controller.listed.append(node(9))
    fleet.controller.places[TENANT] = Placement(nodes=(9,))
    assert await fleet.reconciler.reconcile(TENANT)
    assert "postgresql://no_user@ps-9:6400" == fleet.published()["pageserver_connstring"]


async def test_a_node_that_changes_its_address_moves_documents() -> None:
    """Documents name addresses, not nodes."""
    fleet = await Fleet().with_compute("a")
    fleet.controller.listed[0] = node(1, "elsewhere")
    assert await fleet.reconciler.refresh_nodes()
    assert "postgresql://no_user@elsewhere:6400" == fleet.published()["pageserver_connstring"]


@pytest.mark.parametrize("trouble", ["controller", "store"])
async def test_what_does_not_answer_is_asked_again(trouble: str) -> None:
    """Neither a silent controller nor a full disk loses a move."""
    fleet = await Fleet().with_compute("a")
    fleet.controller.places[TENANT] = ON_2
    (fleet.controller if trouble == "controller" else fleet.store).failure = "gone"
    running = asyncio.create_task(fleet.reconciler.run())
    try:
        await until("a failure", lambda: fleet.reconciler.failures_in_a_row)
        assert 1 == fleet.published()["generation"]
        fleet.controller.failure = fleet.store.failure = ""
        await until("the move", lambda: fleet.published()["generation"] == 2)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_controller_that_is_down_gets_one_question_a_round() -> None:
    """For its nodes; not one for each tenant, of which there may be thousands."""
    fleet = await Fleet().with_compute("a")
    before = fleet.controller.located
    fleet.controller.failure = "gone"
    running = asyncio.create_task(fleet.reconciler.run())
    await until("two rounds", lambda: fleet.reconciler.failures_in_a_row == 2)
    running.cancel()
    assert before == fleet.controller.located


async def test_a_compute_that_is_turned_away_has_its_tenant_looked_up() -> None:
    """Its map is stale: no need to wait for the next round."""
    fleet = await Fleet().with_compute("a")
    running = asyncio.create_task(fleet.reconciler.run())
    await until("the first look", lambda: fleet.controller.located >= 2)
    fleet.controller.places[TENANT] = ON_2
    fleet.report("a", suspicion(1, "wrong"))
    await until("the move", lambda: fleet.published()["generation"] == 2)
    running.cancel()


async def test_a_compute_that_is_ahead_is_published_to() -> None:
    """A report is enough to notice it."""
    fleet = await Fleet().with_compute("a")
    running = asyncio.create_task(fleet.reconciler.run())
    fleet.report("a", applied=ReportedDocument(generation=7, hash="x", proof="full"))
    await until("generation 8", lambda: fleet.published()["generation"] == 8)
    running.cancel()


async def test_a_compute_that_was_ahead_before_there_was_a_document_is_published_to() -> None:
    """It reported while its tenant's place was not known, and says nothing new since."""
    fleet = Fleet()
    await fleet.reconciler.refresh_nodes()
    await fleet.registry.put("a", document())
    fleet.report("a", applied=ReportedDocument(generation=7, hash="x", proof="full"))
    assert fleet.registry.computes["a"].published is None
    await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    running = asyncio.create_task(fleet.reconciler.run())
    await until("generation 8", lambda: fleet.published()["generation"] == 8)
    running.cancel()


async def test_what_is_asked_for_meanwhile_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compared at once, not after the pause that follows a failure."""
    fleet = await Fleet().with_compute("a")
    failures: list[int] = []

    async def locate(_tenant_id: str) -> Placement:
        failures.append(fleet.reconciler.failures_in_a_row)
        if len(failures) < 3:
            fleet.reconciler.request(TENANT)
        return ON_2

    monkeypatch.setattr(fleet.controller, "locate", locate)
    running = asyncio.create_task(fleet.reconciler.run())
    await until("the third look", lambda: len(failures) == 3)
    running.cancel()
    assert [0, 0, 0] == failures


async def test_an_older_answer_does_not_come_after_a_newer_one() -> None:
    """Two looks at one tenant go one after the other."""
    fleet = await Fleet().with_compute("a")
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(tenant_id: str) -> Placement:
        found = fleet.controller.places[tenant_id]
        if not asked.is_set():
            asked.set()
            await go_on.wait()
        return found

    fleet.controller.locate = slow  # type: ignore[method-assign]  # the answer is late
    first = asyncio.create_task(fleet.reconciler.reconcile(TENANT))
    await asked.wait()
    fleet.controller.places[TENANT] = ON_2
    second = asyncio.create_task(fleet.reconciler.reconcile(TENANT))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, second)
    assert "postgresql://no_user@ps-2:6400" == fleet.published()["pageserver_connstring"]


async def test_nobody_waits_behind_a_silent_controller() -> None:
    """Those who ask for the same tenant have their own deadlines."""
    fleet = await Fleet().with_compute("a")
    asked = asyncio.Event()

    async def silent(tenant_id: str) -> Placement:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    fleet.controller.locate = silent  # type: ignore[method-assign]  # nothing comes
    first = asyncio.create_task(fleet.reconciler.reconcile(TENANT, within_s=60.0))
    await asked.wait()
    async with asyncio.timeout(5):
        assert not await fleet.reconciler.reconcile(TENANT, within_s=0.01)
    first.cancel()


async def test_an_unknown_tenant_keeps_its_document() -> None:
    """A controller that has lost its state takes nothing away."""
    fleet = await Fleet().with_compute("a")
    del fleet.controller.places[TENANT]
    assert not await fleet.reconciler.reconcile(TENANT)
    assert 1 == fleet.published()["generation"]
