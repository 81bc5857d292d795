"""The SQLite store: what it survives, and who may have the file beside it."""

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from control_plane.errors import CompactedError, ConflictError, StoreError
from control_plane.ports import Commit, Store, Write
from control_plane.store.commit_log import CommitLog
from control_plane.store.database import Database
from control_plane.store.opening import open_store
from control_plane.store.sqlite import SqliteStore
from tests.support.files import names
from tests.support.small_disk import Disk
from tests.unit.control_plane.store.committer import committer, write

ANSWERED = """
import asyncio, os, sys
from control_plane.ports import Write
from control_plane.store.opening import open_store

async def main():
    store = await open_store(sys.argv[1])
    for number in range(10):
        await store.commit([Write(key=str(number), value=b"{}")])
        os.write(1, b"answered")

asyncio.run(main())
"""
"""Commits one after the other, and says so."""


@pytest.mark.parametrize("lines", [1, 7, 40, 133, 301])
async def test_what_was_answered_survives_kill_9(tmp_path: Path, lines: int) -> None:
    """Every commit that was answered is there, whole; none is there by half."""
    path = tmp_path / "state.db"
    with committer(path) as process:
        assert process.stdout is not None
        answered = [process.stdout.readline().split() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        answered += [line.split() for line in process.stdout if line.endswith("\n")]

    store = await open_store(str(path))
    revision, entries = await store.load()
    await store.close()

    found = {entry.key: entry for entry in entries}
    for number, committed_at in answered:
        assert int(committed_at) == found[f"{number}/a"].revision
    assert revision >= max(int(committed_at) for _, committed_at in answered)
    assert {key[:-1] + "b" for key in found if key.endswith("a")} == {
        key for key in found if key.endswith("b")
    }
    assert {5000} == {len(entry.value or b"") for entry in entries}


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_what_was_answered_is_on_disk(tmp_path: Path) -> None:
    """A power failure loses nothing either: before each answer the file was synced."""
    calls = tmp_path / "calls"
    command = ["strace", "-f", "-e", "trace=fdatasync,fsync,write", "-o", str(calls)]
    done = subprocess.run(
        [*command, sys.executable, "-c", ANSWERED, str(tmp_path / "state.db")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip("this system lets nobody trace a process")
    before_answers = calls.read_text().split('"answered"')[:-1]
    assert 10 == len(before_answers)
    assert all("sync(" in calls for calls in before_answers)


async def test_reopened_it_goes_on(tmp_path: Path) -> None:
    """Entries, revisions and expectations are kept; the commits before are not known."""
    store = await open_store(str(tmp_path / "state.db"))
    await store.commit([write("a"), write("b")])
    await store.commit([write("a", b"2"), Write(key="b", value=None)])
    assert await store.hold_lease("leader", holder="a", ttl_s=1000)
    await store.close()

    store = await open_store(str(tmp_path / "state.db"))
    revision, (entry,) = await store.load()
    assert (2, "a", b"2", 2) == (revision, entry.key, entry.value, entry.revision)
    with pytest.raises(ConflictError):
        await store.commit([write("b", expected=1)])
    assert await store.hold_lease("leader", holder="b", ttl_s=1)
    watch = store.watch(2)
    assert 3 == await store.commit([write("a", expected=2)])
    assert 3 == (await anext(watch)).revision
    with pytest.raises(CompactedError):
        await anext(store.watch(1))
    await watch.aclose()
    await store.close()


async def test_a_full_disk_loses_nothing(disk: Disk) -> None:
    """A commit that does not fit is refused whole; with space again the store goes on."""
    path = disk.folder / "state.db"
    store = await open_store(str(path))
    await store.commit([write(f"k/{number}", b"1" * 3000) for number in range(50)])
    disk.fill()
    committed = await _until_full(store)
    with pytest.raises(StoreError) as caught:
        await store.commit([write(f"k/{number}", b"2" * 3000) for number in range(50)])
    assert f'could not write to store "{path}": database or disk is full' == str(caught.value)
    assert "Free space" in (caught.value.hint or "")

    revision, entries = await store.load("k/")

    assert (committed, {b"1" * 3000}) == (revision, {entry.value for entry in entries})
    disk.free()
    assert committed + 1 == await store.commit([write("k/0", b"3")])
    await store.close()
    store = await open_store(str(path))
    assert committed + 1 == (await store.load())[0]
    await store.close()


async def _until_full(store: Store) -> int:
    """Commit until the disk has no room; return the last revision that was answered."""
    revision = 1
    try:
        while True:
            revision = await store.commit([write("filler", os.urandom(2000))])
    except StoreError:
        return revision


async def test_one_commit_that_does_not_fit_spares_the_others(disk: Disk) -> None:
    """Commits that share a transaction are tried alone where it fails."""
    store = await open_store(str(disk.folder / "state.db"))
    outcomes = await asyncio.gather(
        store.commit([write("first")]),
        store.commit([write("before")]),
        store.commit([write("large", b"x" * (2 << 20))]),
        store.commit([write("after")]),
        store.commit([write("before", expected=0)]),
        return_exceptions=True,
    )
    assert [int, int, StoreError, int, ConflictError] == [type(found) for found in outcomes]
    assert ["after", "before", "first"] == [entry.key for entry in (await store.load())[1]]
    await store.close()


async def test_it_can_be_read_and_backed_up_meanwhile(tmp_path: Path) -> None:
    """Another program may read; the backup is a store of its own."""
    store = await open_store(str(tmp_path / "state.db"))
    await store.commit([write("a", b"1")])
    with (
        closing(sqlite3.connect(tmp_path / "state.db")) as source,
        closing(sqlite3.connect(tmp_path / "copy.db")) as copy,
    ):
        source.backup(copy)
    assert 2 == await store.commit([write("a", b"2")])
    copied = await open_store(str(tmp_path / "copy.db"))
    assert [b"1"] == [entry.value for entry in (await copied.load())[1]]
    await copied.close()
    await store.close()


async def test_foreign_changes_are_not_overwritten(tmp_path: Path) -> None:
    """After another program has written, the store refuses to write until it is opened anew."""
    store = await open_store(str(tmp_path / "state.db"))
    await store.commit([write("a", b"1")])
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("UPDATE entry SET value = 'mine'")
    with pytest.raises(StoreError, match="another program has changed it"):
        await store.commit([write("a", b"2")])
    await store.close()


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "."])
async def test_what_has_no_name_any_more_is_not_written(tmp_path: Path, name: str) -> None:
    """A commit into a file that was moved or deleted would be lost with the process."""
    folder = tmp_path / "state"
    folder.mkdir()
    store = await open_store(str(folder / "state.db"))
    await store.commit([write("a")])
    moved, elsewhere = (folder / name).resolve(), tmp_path / "elsewhere"
    moved.rename(elsewhere)
    with pytest.raises(StoreError, match="it was moved, replaced or deleted"):
        await store.commit([write("b")])
    if name == "state.db":
        moved.write_bytes(elsewhere.read_bytes())
        with pytest.raises(StoreError, match="it was moved, replaced or deleted"):
            await store.commit([write("b")])

    elsewhere.rename(moved)
    await store.commit([write("c")])
    assert ["a", "c"] == [entry.key for entry in (await store.load())[1]]
    await store.close()


async def test_a_locked_database_is_an_error_soon(tmp_path: Path) -> None:
    """Another program's transaction delays a commit for a second only."""
    store = await open_store(str(tmp_path / "state.db"))
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked") as caught:
            await store.commit([write("a")])
        assert "Another program" in (caught.value.hint or "")
        other.execute("ROLLBACK")
    assert 1 == await store.commit([write("a")])
    await store.close()


async def test_its_files_are_for_the_owner_only(tmp_path: Path) -> None:
    """Documents have passwords in them."""
    store = await open_store(str(tmp_path / "state.db"))
    await store.commit([write("a")])
    files = ["state.db", "state.db-shm", "state.db-wal", "state.db.lock"]
    assert files == names(tmp_path)
    assert {0o600} == {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in files}
    await store.close()


async def test_a_large_commit_takes_few_statements(tmp_path: Path) -> None:
    """3,333 documents: a busy event loop lets the store's thread wait after each statement."""
    database = Database(tmp_path / "state.db")
    statements: list[str] = []
    database._connection.set_trace_callback(statements.append)
    writes = [write(f"computes/c{number}", b"x" * 3072) for number in range(3333)]
    for expected in (1, 2):
        [outcome] = database.commit([writes])
        assert isinstance(outcome, Commit)
        assert (expected, 3333) == (outcome.revision, len(outcome.entries))
    database.close()
    assert len(statements) < 2 * 3333 / 100


async def test_a_watcher_keeps_up_with_commits_of_one_transaction(tmp_path: Path) -> None:
    """It gets each of them, though the log keeps fewer."""
    store = await SqliteStore.open(tmp_path / "state.db")
    store._log = CommitLog(store._log.newest, max_commits=100)

    async def watch() -> None:
        for revision in range(1, 501):
            assert revision == (await anext(commits)).revision

    commits = store.watch(0)
    watcher = asyncio.create_task(watch())
    await asyncio.gather(*(store.commit([write(str(number), b"{}")]) for number in range(500)))
    async with asyncio.timeout(30):
        await watcher
    await commits.aclose()
    await store.close()
