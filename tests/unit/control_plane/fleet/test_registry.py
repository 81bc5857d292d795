"""The registry: what is published, in which generation, and what survives a restart."""

import asyncio

import pytest

from compute_common.errors import RequestError, SpecError
from control_plane.decisions.model import (
    Placement,
    PlacementSource,
    Report,
    ReportedDocument,
    Safekeeper,
    SafekeeperSet,
)
from control_plane.errors import StoreError
from control_plane.fleet import mirror
from control_plane.fleet.event_history import HISTORY_KEPT, PRUNE_EVERY
from control_plane.fleet.publisher import Given
from devstack.wait import until
from tests.unit.control_plane.fleet.parts import Fleet, document
from tests.unit.control_plane.records import TENANT, TIMELINE

ON_2 = Placement(nodes=(2,))
ON_9 = Placement(nodes=(9,))
"""Which is in no list."""


async def test_a_document_is_published_once_its_tenant_is_found() -> None:
    """Until then there is none, and the reason is known."""
    fleet = Fleet()
    result = await fleet.registry.put("a", document())
    assert (None, 0) == (result.record.published, result.record.generation)
    assert "it is not known where tenant" in fleet.registry.incomplete("a")
    assert "not published yet" == fleet.registry.history[-1].text

    await fleet.with_compute("a")
    assert 1 == fleet.published()["generation"]
    assert "postgresql://no_user@ps-1:6400" == fleet.published()["pageserver_connstring"]
    assert "" == fleet.registry.incomplete("a")


async def test_only_a_change_raises_the_generation() -> None:
    """What is said twice is published once."""
    fleet = await Fleet().with_compute("a")
    assert () == await fleet.registry.place(TENANT, Placement(nodes=(1,)), PlacementSource.LOCATE)
    assert 1 == fleet.published()["generation"]
    assert ("a",) == await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    assert 2 == fleet.published()["generation"]
    assert not (await fleet.registry.put("a", document())).changed


async def test_a_dry_run_says_what_would_change_and_changes_nothing() -> None:
    """And it says what then happens."""
    fleet = await Fleet().with_compute("a")
    text = document(suspend_timeout_seconds=5)
    would = await fleet.registry.put("a", text, dry_run=True)
    assert ["spec.suspend_timeout_seconds: -1 -> 5"] == would.differences
    assert 1 == fleet.published()["generation"]
    assert would.record == (await fleet.registry.put("a", text)).record


async def test_a_setting_alone_makes_a_document() -> None:
    """A stock server needs no storage controller."""
    fleet = Fleet()
    await fleet.registry.set_settings("stock", {"primary_conninfo": "host=b"})
    (setting,) = fleet.published("stock")["cluster"]["settings"]
    assert ("primary_conninfo", "host=b") == (setting["name"], setting["value"])


@pytest.mark.parametrize("compute_id", ["", "a/b", "../x", "a" * 129, "a\n"])
async def test_an_id_that_is_no_key_is_refused(compute_id: str) -> None:
    """It stands in paths and keys."""
    with pytest.raises(SpecError, match="invalid compute ID"):
        await Fleet().registry.put(compute_id, document())


async def test_a_caller_that_gives_up_leaves_no_doubt() -> None:
    """Its change is made, what comes after it builds on that, and nothing is read anew."""
    fleet = await Fleet().with_compute("a")
    loads = fleet.store.loads
    fleet.store.ready.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    following = asyncio.create_task(
        fleet.registry.place(TENANT, Placement(nodes=(3,)), PlacementSource.LOCATE)
    )
    fleet.store.ready.set()
    assert ("a",) == await asyncio.wait_for(following, 5)
    assert (3, loads) == (fleet.published()["generation"], fleet.store.loads)


async def test_a_restart_keeps_everything_published() -> None:
    """Generations go on where they were."""
    fleet = await Fleet().with_compute("a")
    before = fleet.registry.computes["a"]
    fleet.restart()
    await fleet.registry.load()
    assert before == fleet.registry.computes["a"]
    assert ["document", "moved"] == [event.kind for event in fleet.registry.history]
    await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    assert 2 == fleet.published()["generation"]


async def test_no_generation_falls_when_a_compute_is_deleted_and_put_again() -> None:
    """A daemon of that id refuses what is older."""
    fleet = await Fleet().with_compute("a")
    fleet.controller.places[TENANT] = ON_2
    await fleet.reconciler.reconcile(TENANT)
    assert await fleet.registry.delete("a")
    assert not await fleet.registry.delete("a")
    fleet.restart()
    await fleet.registry.load()
    await fleet.with_compute("a")
    assert 3 == fleet.published()["generation"]


async def test_moved_while_its_compute_is_deleted_and_put_again() -> None:
    """The compute gets the new place, not the one from before."""
    fleet = await Fleet().with_compute("a")
    assert await fleet.registry.delete("a")
    await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    await fleet.registry.put("a", document())
    assert "postgresql://no_user@ps-2:6400" == fleet.published()["pageserver_connstring"]


async def test_deleted_and_put_again_before_there_is_a_document() -> None:
    """Whoever had a document of that id has seen its generation, however often it was deleted."""
    fleet = await Fleet().with_compute("a")
    await fleet.registry.place(TENANT, ON_9, PlacementSource.LOCATE)
    for _ in range(2):
        assert await fleet.registry.delete("a")
        result = await fleet.registry.put("a", document())
        assert result.record.published is None
    await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    assert 2 == fleet.published()["generation"]


async def test_a_compute_that_is_ahead_gets_a_higher_generation() -> None:
    """As after the store was restored from a backup: what is older it would refuse."""
    fleet = await Fleet().with_compute("a")
    fleet.report(applied=ReportedDocument(generation=7, hash="x", proof="full"))
    await fleet.registry.republish(["a"])
    assert 8 == fleet.published()["generation"]
    fleet.report(applied=ReportedDocument(generation=8, hash="other", proof="full"))
    await fleet.registry.republish(["a"])
    assert 8 < fleet.published()["generation"]


async def test_many_computes_that_are_ahead_cost_few_commits() -> None:
    """They are published to in groups; one whose generation is the present one stays as it is."""
    fleet = Fleet()
    names = [f"compute-{number:03}" for number in range(250)]
    for name in names:
        await fleet.with_compute(name)
    for name in names[1:]:
        fleet.report(name, applied=ReportedDocument(generation=7, hash="x", proof="full"))
    before = fleet.store.revision
    running = asyncio.create_task(fleet.reconciler.run())
    await until("the last", lambda: fleet.published(names[-1])["generation"] == 8)
    running.cancel()
    assert [1, *[8] * 249] == [fleet.published(name)["generation"] for name in names]
    assert 3 == fleet.store.revision - before


async def test_what_the_store_refuses_is_not_published() -> None:
    """The old document stays, and the next change goes through."""
    fleet = await Fleet().with_compute("a")
    fleet.store.failure = "disk full"
    with pytest.raises(StoreError, match="disk full"):
        await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    assert (1, "disk full") == (fleet.published()["generation"], fleet.registry.store_failure)

    fleet.store.failure = ""
    await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    assert (2, "") == (fleet.published()["generation"], fleet.registry.store_failure)


async def test_a_store_that_answers_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody writes: whoever is not ready is told nothing that had to be written."""
    monkeypatch.setattr(mirror, "RETRY_S", 0.01)
    fleet = await Fleet().with_compute("a")
    following = asyncio.create_task(fleet.registry.run())
    fleet.store.failure = "disk full"
    with pytest.raises(StoreError):
        await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    fleet.store.failure = "still full"
    await until("another try", lambda: fleet.registry.store_failure == "still full")

    fleet.store.failure = ""
    await until("the store", lambda: not fleet.registry.store_failure)
    assert "the store answers again, after: still full" == fleet.registry.history[-1].text
    following.cancel()


async def test_another_replica_was_faster() -> None:
    """The change is decided anew from what the other has written."""
    fleet = await Fleet().with_compute("a")
    other = Fleet(store=fleet.store, controller=fleet.controller)
    await other.registry.load()
    await other.registry.set_settings("a", {"work_mem": "8MB"})
    await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    assert 3 == fleet.published()["generation"]
    assert "8MB" in str(fleet.published()["cluster"]["settings"])


async def test_what_another_replica_writes_comes_in_by_the_watch() -> None:
    """A request held here sees it."""
    fleet = await Fleet().with_compute("a")
    other = Fleet(store=fleet.store, controller=fleet.controller)
    await other.registry.load()
    following = asyncio.create_task(other.registry.run())
    waiting = asyncio.create_task(other.registry.changed("a", generation=1, within_s=10.0))
    await asyncio.sleep(0)
    await fleet.registry.place(TENANT, ON_2, PlacementSource.LOCATE)
    async with asyncio.timeout(5):
        await waiting
    assert 2 == other.published()["generation"]
    following.cancel()


async def test_waiting_ends_with_its_time() -> None:
    """Or at once, where the caller has an older document."""
    fleet = await Fleet().with_compute("a")
    async with asyncio.timeout(5):
        await fleet.registry.changed("a", generation=1, within_s=0.01)
    async with asyncio.timeout(5):
        await fleet.registry.changed("a", generation=0, within_s=60.0)


async def test_safekeepers_never_go_backwards() -> None:
    """Older news change nothing, contradictions are refused."""
    fleet = await Fleet().with_compute("a")

    async def told(generation: int, *ids: int) -> tuple[str, ...]:
        keepers = tuple(Safekeeper(id=one) for one in ids)
        new = SafekeeperSet(generation=generation, safekeepers=keepers)
        return await fleet.registry.place_safekeepers(TENANT, TIMELINE, new)

    assert ("a",) == await told(2, 1, 2)
    assert () == await told(1, 3)
    assert () == await told(2, 1, 2)
    with pytest.raises(RequestError) as refused:
        await told(2, 1, 3)
    assert 409 == refused.value.code
    assert ["sk-1:5454", "sk-2:5454"] == fleet.published()["safekeeper_connstrings"]
    assert 2 == fleet.published()["safekeepers_generation"]


async def test_a_token_is_kept_as_its_hash() -> None:
    """And survives a new text."""
    fleet = Fleet()
    await fleet.registry.put("a", document(), given=Given(token="secret-token"))
    assert all(b"secret-token" not in (it.value or b"") for it in fleet.store.entries.values())
    kept = fleet.registry.computes["a"].token_sha256
    await fleet.registry.put("a", document(suspend_timeout_seconds=5))
    assert kept is not None
    assert kept == fleet.registry.computes["a"].token_sha256


async def test_the_history_is_bounded() -> None:
    """In memory and in the store."""
    fleet = Fleet()
    for number in range(HISTORY_KEPT + 2 * PRUNE_EVERY):
        await fleet.registry.events.record("test", str(number))
    assert HISTORY_KEPT == len(fleet.registry.history)
    assert HISTORY_KEPT + PRUNE_EVERY >= len(fleet.store.entries)


async def test_requests_and_reports_are_heard() -> None:
    """Those who wait for the tenant go on."""
    fleet = await Fleet().with_compute("a")
    presence = fleet.registry.presence
    assert (None, 0) == (presence.of("a").asked_at, presence.of("a").holds)
    with presence.asked("a"):
        assert (100.0, 1) == (presence.of("a").asked_at, presence.of("a").holds)
    assert 0 == presence.of("a").holds

    waiting = asyncio.create_task(presence.tenant_heard(TENANT, within_s=10.0))
    await asyncio.sleep(0)
    presence.reported("a", Report(status="running"))
    async with asyncio.timeout(5):
        await waiting
    with presence.asked("a"):  # as a request that is held
        await fleet.registry.delete("a")
    assert {} == presence.heard
