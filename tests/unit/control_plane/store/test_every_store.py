"""What every store must do, whatever keeps its entries. A new one is added to `FACTORIES`."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic

import pytest

from control_plane.errors import CompactedError, ConflictError, StoreError
from control_plane.ports import Commit, Entry, Store, Write
from control_plane.store.opening import open_store
from devstack.wait import until
from tests.support.memory_store import MemoryStore


async def _memory(_folder: Path) -> Store:
    return MemoryStore()


async def _sqlite(folder: Path) -> Store:
    return await open_store(str(folder / "state.db"))


FACTORIES: dict[str, Callable[[Path], Awaitable[Store]]] = {"memory": _memory, "sqlite": _sqlite}


@pytest.fixture(params=FACTORIES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    made = await FACTORIES[request.param](tmp_path)
    yield made
    await made.close()


def put(key: str, value: bytes = b"{}", expected: int | None = None) -> Write:
    """A change of one key."""
    return Write(key=key, value=value, expected=expected)


def delete(key: str, expected: int | None = None) -> Write:
    """The removal of one key."""
    return Write(key=key, value=None, expected=expected)


def keys(entries: list[Entry]) -> list[str]:
    """Return the keys, in order."""
    return [entry.key for entry in entries]


async def test_what_was_committed_is_loaded(store: Store) -> None:
    """Entries come in key order with the revision that wrote them last; a prefix selects."""
    assert (0, []) == await store.load()
    assert 1 == await store.commit([put("b/2", b"\x00\xff"), put("a/1"), put("b/1", b"")])
    assert 2 == await store.commit([put("b/1", b"new")])
    assert (
        2,
        [
            Entry(key="b/1", value=b"new", revision=2),
            Entry(key="b/2", value=b"\x00\xff", revision=1),
        ],
    ) == await store.load("b/")
    assert ["a/1", "b/1", "b/2"] == keys((await store.load())[1])


@pytest.mark.parametrize("prefix", ["a", "a%", "a_", "a*", "ä", "", "b"])
async def test_a_prefix_is_text_and_no_pattern(store: Store, prefix: str) -> None:
    """A prefix selects the keys that begin with it, whatever characters are in it."""
    names = sorted(["a", "a%b", "aXb", "a_b", "a*b", "ä/1", "b", "b\U0010ffff/1", "A"])
    await store.commit([put(name) for name in names])

    found = keys((await store.load(prefix))[1])

    assert [name for name in names if name.startswith(prefix)] == found


async def test_a_conflict_changes_nothing(store: Store) -> None:
    """One key with another revision than expected: no write of the commit is made."""
    await store.commit([put("a"), put("b")])
    await store.commit([put("a", b"2", expected=1)])
    for refused in (
        put("a", b"3", expected=1),
        put("a", b"3", expected=0),
        delete("a", expected=1),
        put("c", expected=2),
    ):
        with pytest.raises(ConflictError, match=f'key "{refused.key}"'):
            await store.commit([put("b", b"other"), refused])

    revision, entries = await store.load()

    assert 2 == revision
    assert {"a": b"2", "b": b"{}"} == {entry.key: entry.value for entry in entries}


async def test_expected_revisions_that_hold(store: Store) -> None:
    """0 creates, the present revision changes and deletes; a deleted key does not exist."""
    assert 1 == await store.commit([put("a", expected=0)])
    assert 2 == await store.commit([put("a", b"2", expected=1)])
    assert 3 == await store.commit([delete("a", expected=2)])
    assert (3, []) == await store.load()
    assert 4 == await store.commit([put("a", expected=0)])


async def test_a_commit_that_changes_nothing(store: Store) -> None:
    """No writes, or deletions of what is not there: the revision stays, nobody is told."""
    await store.commit([put("a")])
    assert 1 == await store.commit([])
    assert 1 == await store.commit([delete("b"), delete("c", expected=0)])
    assert 2 == await store.commit([delete("b"), put("d")])
    watch = store.watch(1)
    assert ["d"] == [entry.key for entry in (await anext(watch)).entries]
    await watch.aclose()


@pytest.mark.parametrize("names", [[""], ["a\0b"], ["a", "a"]])
async def test_keys_that_no_store_takes(store: Store, names: list[str]) -> None:
    """An empty key, one with NUL, or one twice in a commit is a mistake of the caller."""
    with pytest.raises(ValueError, match="cannot write key"):
        await store.commit([put(name) for name in names])
    assert (0, []) == await store.load()


async def test_one_of_many_who_race_wins(store: Store) -> None:
    """Of concurrent commits with the same expectation one is made, the others conflict."""
    outcomes = await asyncio.gather(
        *(store.commit([put("a", bytes([number]), expected=0)]) for number in range(20)),
        return_exceptions=True,
    )
    assert 19 == sum(isinstance(outcome, ConflictError) for outcome in outcomes)
    assert [1] == [outcome for outcome in outcomes if isinstance(outcome, int)]


async def test_counters_lose_no_increment(store: Store) -> None:
    """Ten who read, add and swap, and try again after a conflict, count right."""

    async def count() -> None:
        done = 0
        while done < 10:
            _, entries = await store.load("counter")
            old = entries[0] if entries else Entry(key="counter", value=b"0", revision=0)
            new = str(int(old.value or b"0") + 1).encode()
            try:
                await store.commit([put("counter", new, expected=old.revision)])
                done += 1
            except ConflictError:
                await asyncio.sleep(0)

    await asyncio.gather(*(count() for _ in range(10)))

    assert [b"100"] == [entry.value for entry in (await store.load())[1]]


async def test_a_watch_sees_every_commit_in_order(store: Store) -> None:
    """Those made before it began, those made while it waits, deletions as such."""
    await store.commit([put("a", b"1")])
    await store.commit([put("b", b"2")])
    seen: list[Commit] = []

    async def watch() -> None:
        commits = store.watch(1)
        async for commit in commits:
            seen.append(commit)
            if commit.revision == 4:
                break
        await commits.aclose()

    watching = asyncio.create_task(watch())
    await until("the first commit is seen", lambda: seen)
    await store.commit([put("a", b"3"), put("c", b"3")])
    await store.commit([delete("a")])
    await asyncio.wait_for(watching, 5)

    assert [2, 3, 4] == [commit.revision for commit in seen]
    assert [("a", b"3", 3), ("c", b"3", 3)] == [
        (entry.key, entry.value, entry.revision) for entry in seen[1].entries
    ]
    assert (Entry(key="a", value=None, revision=4),) == seen[2].entries


async def test_watches_follow_what_is_stored(store: Store) -> None:
    """Whoever loads once and applies each commit has what another load returns."""
    rng = random.Random(1)
    await store.commit([put(f"k/{number}") for number in range(5)])
    revision, entries = await store.load()
    mirror = {entry.key: entry for entry in entries}

    async def follow() -> None:
        commits = store.watch(revision)
        async for commit in commits:
            for entry in commit.entries:
                mirror[entry.key] = entry
                if entry.value is None:
                    del mirror[entry.key]
            if any(entry.key == "end" for entry in commit.entries):
                break
        await commits.aclose()

    async def change(number: int) -> None:
        key = f"k/{rng.randrange(8)}"
        write = delete(key) if rng.random() < 0.3 else put(key, str(number).encode())
        await store.commit([write, put(f"n/{number}")])

    following = asyncio.create_task(follow())
    await asyncio.gather(*(change(number) for number in range(100)))
    await store.commit([put("end")])
    await asyncio.wait_for(following, 5)

    assert sorted(mirror.values(), key=lambda entry: entry.key) == (await store.load())[1]


async def test_two_watches_are_independent(store: Store) -> None:
    """One that has ended or is slow takes nothing from another."""
    await store.commit([put("a")])
    first, second = store.watch(0), store.watch(0)
    assert 1 == (await anext(first)).revision
    await first.aclose()
    await store.commit([put("b")])
    assert [1, 2] == [(await anext(second)).revision, (await anext(second)).revision]
    await second.aclose()


async def test_a_revision_of_another_store_is_not_watched(store: Store) -> None:
    """A revision that was never reached (a backup was restored) means: load anew."""
    await store.commit([put("a")])
    for after in (7, -1):
        with pytest.raises(CompactedError):
            await anext(store.watch(after))


async def test_closing_ends_watches_and_refuses_the_rest(store: Store) -> None:
    """Who waits for commits is let go; later calls say that the store is closed."""
    waiting = asyncio.create_task(anext(store.watch(0), None))
    await asyncio.sleep(0)
    await store.close()
    assert None is await asyncio.wait_for(waiting, 5)
    for call in (
        store.load(),
        store.commit([put("a")]),
        store.hold_lease("leader", holder="a", ttl_s=1),
        store.release_lease("leader", holder="a"),
    ):
        with pytest.raises(StoreError, match="closed"):
            await call
    await store.close()


async def test_a_lease_has_one_holder(store: Store) -> None:
    """It is renewed by its holder, given up by nobody else, and free afterwards."""
    assert await store.hold_lease("leader", holder="a", ttl_s=60)
    assert not await store.hold_lease("leader", holder="b", ttl_s=60)
    assert await store.hold_lease("leader", holder="a", ttl_s=60)
    assert await store.hold_lease("another", holder="b", ttl_s=60)
    await store.release_lease("leader", holder="b")
    assert not await store.hold_lease("leader", holder="b", ttl_s=60)
    await store.release_lease("leader", holder="a")
    assert await store.hold_lease("leader", holder="b", ttl_s=60)


async def test_a_lease_ends_by_itself(store: Store) -> None:
    """Whoever does not renew it loses it, not before its time."""
    begun = monotonic()
    assert await store.hold_lease("leader", holder="a", ttl_s=1.0)
    async with asyncio.timeout(10):
        while not await store.hold_lease("leader", holder="b", ttl_s=60):  # noqa: ASYNC110 -- its end is no event
            await asyncio.sleep(0.01)
    assert monotonic() - begun >= 0.9
    assert not await store.hold_lease("leader", holder="a", ttl_s=1.0)
