"""The state folder: lock, generations, state, history."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from compute_common.errors import SettingsError
from compute_ctl.decisions.persistent_state import GenerationRef, PersistentState
from compute_ctl.errors import StoreError
from compute_ctl.store import history
from compute_ctl.store.state_dir import StateDir
from tests.support.files import names

STATE = PersistentState(
    compute_id="c-1",
    system_identifier="7000000000000000000",
    data_dir_inode="1:2",
    applied=GenerationRef(
        generation=3,
        marker="3.x.y",
        content_sha256="ab",
        at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    ),
    last_pull={"file": "ab"},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateDir]:
    """An open store in a folder of its own."""
    made = StateDir(tmp_path / "state")
    made.open()
    yield made
    made.close()


def test_numbers_of_attempts_go_on(tmp_path: Path) -> None:
    """The last number is found among other entries, torn lines, and after the file was rotated."""
    store = StateDir(tmp_path / "state")
    store.open()
    try:
        assert 0 == store.last_attempt()
        entries: tuple[dict[str, object], ...] = ({"number": 7}, {"kind": "catalog"}, {"number": 8})
        for entry in entries:
            store.add_history(entry)
        history = tmp_path / "state" / "history.jsonl"
        with history.open("ab") as file:
            file.write(b'{"number": 9')
        assert 8 == store.last_attempt()
        history.rename(history.with_name("history.jsonl.1"))
        store.add_history({"kind": "catalog"})
        assert 8 == store.last_attempt()
    finally:
        store.close()


def test_folder_and_files_are_private(store: StateDir) -> None:
    """The folders are 0700 and every file 0600, whatever the umask."""
    old = os.umask(0)
    try:
        store.save(STATE)
        store.put_generation(1, document=b"{}", conf="a = 1\n")
        store.add_history({"event": "x"})
    finally:
        os.umask(old)
    modes = {
        str(path.relative_to(store.folder)): path.stat().st_mode & 0o777
        for path in [store.folder, *store.folder.rglob("*")]
    }
    assert {
        ".": 0o700,
        "g": 0o700,
        "lock": 0o600,
        "g/1.conf": 0o600,
        "g/1.json": 0o600,
        "history.jsonl": 0o600,
        "state.json": 0o600,
        ".state.json.next": 0o600,
    } == modes


def test_state_survives(store: StateDir) -> None:
    """What was saved is loaded by the next daemon; nothing saved is an empty State."""
    assert store.load() == PersistentState()
    store.save(STATE)
    store.close()
    again = StateDir(store.folder)
    again.open()
    assert STATE == again.load()
    again.close()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"applied": 7}', b"[]"])
def test_corrupt_state_is_set_aside(store: StateDir, content: bytes) -> None:
    """An unusable state.json is kept under another name, and the daemon begins empty."""
    for number in (1, 2):
        (store.folder / "state.json").write_bytes(content)
        assert store.load() == PersistentState()
        assert (store.folder / f"state.json.corrupt-{number}").read_bytes() == content
    assert not (store.folder / "state.json").exists()


def test_second_daemon_is_refused(store: StateDir) -> None:
    """Whoever has the lock is named by pid; after it ends the folder is free."""
    second = StateDir(store.folder)
    with pytest.raises(SettingsError, match=rf"another compute_ctl \(pid {os.getpid()}\) manages"):
        second.open()
    store.close()
    second.open()
    second.close()


def test_generation_is_kept_whole(store: StateDir) -> None:
    """A generation comes back as it was put; one with half its files is not there."""
    store.put_generation(7, document=b'{"a":1}', conf="x = 'ü'\n")
    assert (b'{"a":1}', "x = 'ü'\n") == store.get_generation(7)
    (store.folder / "g" / "8.json").write_bytes(b"{}")
    assert store.get_generation(8) is None
    assert 8 == store.highest_generation()


def test_prune_keeps_five_and_the_good_one(store: StateDir) -> None:
    """Only old generations that nobody needs go; strangers' files stay."""
    for number in range(1, 13):
        store.put_generation(number, document=b"{}", conf="")
    (store.folder / "g" / "README").write_text("mine")
    store.prune(frozenset({2}))
    kept = [number for number in range(1, 13) if store.get_generation(number)]
    assert [2, 8, 9, 10, 11, 12] == kept
    assert (store.folder / "g" / "README").exists()


def test_generation_that_cannot_be_kept_is_an_error(store: StateDir) -> None:
    """Without its folder a generation is refused, with the reason."""
    (store.folder / "g").rmdir()
    with pytest.raises(StoreError, match=r"could not keep generation 1 .*: No such file"):
        store.put_generation(1, document=b"{}", conf="")


def test_history_is_bounded(store: StateDir) -> None:
    """The newest entries are read back in order, and the files never pass twice the limit."""
    for number in range(300):
        store.add_history({"n": number, "text": "x" * 10_000})
    assert [297, 298, 299] == [entry["n"] for entry in history.read(store.folder, 3)]
    sizes = [path.stat().st_size for path in store.folder.glob("history.jsonl*")]
    assert 2 == len(sizes)
    assert max(sizes) <= history.FILE_BYTES


def test_history_never_raises(store: StateDir) -> None:
    """An entry that cannot be written, or a folder that is gone, costs the entry only."""
    store.add_history({"bad": object()})
    assert [] == history.read(store.folder)
    (store.folder / "history.jsonl").mkdir()
    store.add_history({"n": 1})
    assert [] == history.read(store.folder)


def test_set_aside_begins_anew(store: StateDir) -> None:
    """All that another cluster left is moved away; the lock stays ours."""
    store.save(STATE)
    store.put_generation(4, document=b"{}", conf="")
    store.put_token("secret")
    aside = store.set_aside()
    assert aside == store.folder / "aside-1"
    assert (aside / "g" / "4.conf").exists()
    assert (store.load(), store.highest_generation(), store.token()) == (PersistentState(), 0, None)
    assert store.set_aside() is None
    store.put_generation(1, document=b"{}", conf="")
    with pytest.raises(SettingsError):
        StateDir(store.folder).open()


def test_strange_folder_is_refused(tmp_path: Path) -> None:
    """A link or a file in the place of the folder is not used."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "missing/state"):
        with pytest.raises(SettingsError, match="state directory"):
            StateDir(tmp_path / name).open()
    assert [] == names(tmp_path / "real")


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Folder, g/ and the lock come back; while all is there nothing is touched."""
    store = StateDir(tmp_path / "state")
    store.open()
    assert store.remake_if_lost() is False
    shutil.rmtree(store.folder)
    assert store.remake_if_lost() is True
    store.put_generation(1, document=b"{}", conf="a = 1\n")
    assert (True, False) == (store.has_generation(1), store.has_generation(2))
    with pytest.raises(SettingsError, match="another compute_ctl"):
        StateDir(store.folder).open()
    store.close()
