"""Changes of several tenants are committed side by side, those of one after each other."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from compute_common.system.blocking_worker import BlockingWorker
from control_plane.decisions.model import HistoryEvent, Placement, PlacementSource
from control_plane.decisions.view_state import Moment
from control_plane.errors import StoreError
from control_plane.fleet.change_locks import ChangeLocks
from control_plane.fleet.event_history import HISTORY, HISTORY_KEPT, PRUNE_EVERY, EventHistory
from control_plane.fleet.registry import Registry
from control_plane.ports import Entry, Write
from control_plane.store.database import Database, Outcome
from control_plane.store.sqlite import SqliteStore
from tests.support.clock import DATE, FakeClock
from tests.unit.control_plane.fleet.parts import Fleet
from tests.unit.control_plane.records import nodes, text

TENANTS = [f"{number:032x}" for number in range(1, 301)]
FROM, TO = Placement(nodes=(1,)), Placement(nodes=(2,))


async def fill(registry: Registry, tenants: Sequence[str]) -> None:
    """Put a compute for each tenant, on node 1."""
    await registry.set_nodes(nodes(1, 2))
    for number, tenant in enumerate(tenants):
        await registry.put(f"c{number}", text(tenant_id=tenant))
        await registry.place(tenant, FROM, PlacementSource.LOCATE)


class CountingDatabase(Database):
    """Counts its transactions."""

    transactions = 0

    def commit(self, group: Sequence[Sequence[Write]]) -> list[Outcome]:
        """Count it."""
        self.transactions += 1
        return super().commit(group)


async def test_changes_of_many_tenants_share_transactions(tmp_path: Path) -> None:
    """Each is committed, in far fewer transactions than there are changes."""
    worker = BlockingWorker("store", idle_s=None)
    make = partial(CountingDatabase, tmp_path / "state.db")
    database = await worker.run(make, within_s=10)
    store = SqliteStore(database, worker)
    registry = Registry(store=store, clock=FakeClock(), managed=True)
    await fill(registry, TENANTS)
    before = database.transactions
    async with asyncio.TaskGroup() as group:
        for tenant in TENANTS:
            group.create_task(registry.place(tenant, TO, PlacementSource.LOCATE))
    assert len(TENANTS) / 10 > database.transactions - before
    assert {2} == {registry.computes[f"c{number}"].generation for number in range(len(TENANTS))}
    assert {TO} == {registry.tenants[tenant].placement for tenant in TENANTS}
    known = dict(registry.computes)
    again = Registry(store=store, clock=FakeClock(), managed=True)
    await again.load()
    assert known == again.computes
    await store.close()


async def test_changes_of_one_tenant_follow_each_other() -> None:
    """Each is decided when the one before is committed, so that each raises the generation."""
    fleet = Fleet()
    await fill(fleet.registry, TENANTS[:1])
    fleet.store.ready.clear()
    places = (Placement(nodes=(2,)), Placement(nodes=(1,)), Placement(nodes=(2,)))
    async with asyncio.TaskGroup() as group:
        for place in places:
            group.create_task(fleet.registry.place(TENANTS[0], place, PlacementSource.LOCATE))
        await asyncio.sleep(0)
        fleet.store.ready.set()
    assert 4 == fleet.registry.computes["c0"].generation


async def test_a_failed_change_is_read_anew_before_the_next() -> None:
    """After several failures the store is read once, before the next change is decided."""
    fleet = Fleet()
    await fill(fleet.registry, TENANTS[:3])
    fleet.store.failure = "disk full"
    moves = (fleet.registry.place(it, TO, PlacementSource.LOCATE) for it in TENANTS[:3])
    failed = await asyncio.gather(*moves, return_exceptions=True)
    assert [StoreError] * 3 == [type(error) for error in failed]
    fleet.store.failure = ""
    loads = fleet.store.loads
    moves = (fleet.registry.place(it, TO, PlacementSource.LOCATE) for it in TENANTS[:3])
    await asyncio.gather(*moves)
    assert 1 == fleet.store.loads - loads
    assert [2] * 3 == [fleet.registry.computes[f"c{number}"].generation for number in range(3)]


async def test_a_change_that_fails_while_all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read may be older than it, so all is read once more before the next change."""
    fleet = Fleet()
    await fill(fleet.registry, TENANTS[:1])
    load = fleet.store.load

    async def slow() -> tuple[int, list[Entry]]:
        found = await load()
        fleet.store.failure = "disk full"
        with pytest.raises(StoreError):
            await fleet.registry.place(TENANTS[0], TO, PlacementSource.LOCATE)
        fleet.store.failure = ""
        return found

    with monkeypatch.context() as patch:
        patch.setattr(fleet.store, "load", slow)
        await fleet.registry.mirror.load()
    loads = fleet.store.loads
    await fleet.registry.place(TENANTS[0], TO, PlacementSource.LOCATE)
    assert 1 == fleet.store.loads - loads


def test_events_are_deleted_by_one_change_at_a_time() -> None:
    """Others that are committed beside it do not delete the same ones."""
    history = EventHistory()
    event = HistoryEvent(at=DATE, kind="test", text="")
    now = Moment(monotonic=0.0, wall=DATE)
    for number in range(HISTORY_KEPT + PRUNE_EVERY):
        history.take(f"{HISTORY}{number:020d}-x", event, now)
    assert (PRUNE_EVERY, 0) == (len(history.prune()), len(history.prune()))
    history.pruned()
    assert PRUNE_EVERY == len(history.prune())


@pytest.mark.parametrize("first", ["a", None])
async def test_all_exclude_each(first: str | None) -> None:
    """A change of everything waits for those under way, runs alone, and lets later ones wait."""
    locks = ChangeLocks()
    order: list[str] = []
    running: set[str | None] = set()
    await locks.acquire(first)

    async def take(scope: str | None) -> None:
        await locks.acquire(scope)
        order.append(str(scope))
        running.add(scope)
        assert None not in running or {None} == running
        await asyncio.sleep(0)
        running.remove(scope)
        locks.release(scope)

    async with asyncio.TaskGroup() as group:
        for scope in (None, "b", "a", None):
            group.create_task(take(scope))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [] == order
        locks.release(first)
    assert ("None", ["None", "None", "a", "b"]) == (order[0], sorted(order))


async def test_a_lock_that_is_not_waited_for_any_more() -> None:
    """Others can take it after a waiting task was cancelled."""
    locks = ChangeLocks()
    await locks.acquire("a")
    waiting = [asyncio.create_task(locks.acquire(scope)) for scope in ("a", None, "b")]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    locks.release("a")
    async with asyncio.timeout(5):
        for scope in ("a", None, "b"):
            await locks.acquire(scope)
            locks.release(scope)
    del waiting, task
    gc.collect()
    assert [] == list(locks._locks)  # nothing is kept of tenants that were changed once


async def test_what_comes_last_stays_last_though_the_clock_is_set_back() -> None:
    """Events keep their order in the store."""
    fleet = Fleet()
    fleet.clock.wall = lambda: DATE + timedelta(seconds=fleet.clock.now)
    for number in range(3):
        await fleet.registry.events.record("test", str(number))
        fleet.clock.now -= 3600.0
    fleet.restart()
    await fleet.registry.load()
    await fleet.registry.events.record("test", "3")
    fleet.restart()
    await fleet.registry.load()
    assert ["0", "1", "2", "3"] == [event.text for event in fleet.registry.history]
