"""What is said where a store cannot be opened."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from compute_common.errors import SettingsError
from control_plane.store.opening import open_store
from tests.support.small_disk import Disk
from tests.unit.control_plane.store.committer import committer, write


async def refusal(path: Path | str) -> SettingsError:
    """Return why *path* is not opened; one line that names it, and a hint."""
    with pytest.raises(SettingsError) as caught:
        await open_store(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


async def test_a_second_process_is_refused_at_once(tmp_path: Path) -> None:
    """It says which file is in use; when the first is gone, the file can be opened."""
    path = tmp_path / "state.db"
    with committer(path):
        begun = time.monotonic()
        error = await refusal(path)
        assert time.monotonic() - begun < 10
    assert f'store "{path}" is in use by another control plane' == str(error)
    await (await open_store(str(path))).close()


async def test_a_second_store_in_the_same_process_is_refused(tmp_path: Path) -> None:
    """Also after the first was used; closing it lets go of the file."""
    store = await open_store(str(tmp_path / "state.db"))
    await store.commit([write("a")])
    assert "is in use" in str(await refusal(tmp_path / "state.db"))
    assert 2 == await store.commit([write("b")])
    await store.close()
    await (await open_store(str(tmp_path / "state.db"))).close()


async def test_a_full_disk_at_the_start(disk: Disk) -> None:
    """One line, with a hint; nothing stays locked."""
    disk.fill()
    error = await refusal(disk.folder / "state.db")
    assert str(disk.folder / "state.db") in str(error)
    disk.free()
    await (await open_store(str(disk.folder / "state.db"))).close()


async def test_a_read_only_disk(disk: Disk) -> None:
    """An existing store and a missing one are refused alike."""
    await (await open_store(str(disk.folder / "state.db"))).close()
    disk.make_read_only()
    for name in ("state.db", "new.db"):
        assert "Read-only file system" in str(await refusal(disk.folder / name))


@pytest.mark.parametrize("place", ["missing/state.db", "file/state.db", "folder"])
async def test_a_place_that_cannot_be_used(tmp_path: Path, place: str) -> None:
    """A folder that is missing or is none, or a folder instead of a file."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    error = await refusal(tmp_path / place)
    assert str(error).startswith(f'could not open store "{tmp_path / place}": ')


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """It is refused and stays as it is."""
    path = tmp_path / "state.db"
    path.write_bytes(b"no database at all, but long enough for a header" * 100)
    before = path.read_bytes()
    assert f'could not open store "{path}": file is not a database' == str(await refusal(path))
    assert before == path.read_bytes()


async def test_a_damaged_database(tmp_path: Path) -> None:
    """Overwritten pages are noticed when the store is opened or read."""
    path = tmp_path / "state.db"
    store = await open_store(str(path))
    await store.commit([write(f"k/{number}", b"1" * 3000) for number in range(200)])
    await store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    assert "malformed" in str(await refusal(path))


async def test_another_programs_database(tmp_path: Path) -> None:
    """Nothing is written into a database that is not ours."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    assert "is a database of another program" in str(await refusal(path))
    assert before == path.read_bytes()


async def test_a_newer_schema(tmp_path: Path) -> None:
    """What a newer version has written is not touched."""
    path = tmp_path / "state.db"
    await (await open_store(str(path))).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 2")
    error = await refusal(path)
    assert f'store "{path}" has schema version 2, newer than 1' == str(error)


@pytest.mark.parametrize("uri", ["etcd://h1:2379,h2:2379/prefix", "postgres://x", ""])
async def test_stores_that_do_not_exist_yet(uri: str) -> None:
    """A scheme that nobody knows is no file name."""
    with pytest.raises(SettingsError, match=r"not supported yet|is empty"):
        await open_store(uri)
