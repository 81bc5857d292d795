"""Replacing files whole: mode, links, full disks, strangers in the way."""

import os
from pathlib import Path

import pytest

from compute_common.system.atomic_file import ReplacedFile
from tests.support.files import names
from tests.support.small_disk import Disk


def test_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """A file that was not there before gets mode 0600 and exactly the bytes given."""
    path = tmp_path / "conf"
    ReplacedFile(path).replace(b"one\n")
    assert (b"one\n", 0o600) == (path.read_bytes(), path.stat().st_mode & 0o777)


def test_mode_and_owner_are_kept(tmp_path: Path) -> None:
    """The replacement has the mode and the owner of what it replaces."""
    path = tmp_path / "conf"
    path.write_bytes(b"old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    ReplacedFile(path).replace(b"new")
    after = path.stat()
    assert b"new" == path.read_bytes()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert after.st_ino != before.st_ino


def test_prepared_blocks_leave_no_trace(tmp_path: Path) -> None:
    """The reserve is cut off before the rename: the file ends where its content ends."""
    file = ReplacedFile(tmp_path / "conf")
    for content in (b"a" * 100, b"b" * 100_000, b""):
        file.prepare()
        file.replace(content)
        assert (tmp_path / "conf").read_bytes() == content
    assert ["conf"] == names(tmp_path)


def test_link_is_kept_and_its_target_replaced(tmp_path: Path) -> None:
    """A symbolic link goes on pointing to the file, which has the new content."""
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "real.conf"
    target.write_bytes(b"old")
    link = tmp_path / "conf"
    link.symlink_to(target)
    ReplacedFile(link).replace(b"new")
    assert link.is_symlink()
    assert b"new" == target.read_bytes()


def test_planted_temporary_file_is_not_followed(tmp_path: Path) -> None:
    """A link or a second name in the place of the temporary file leads nowhere."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    file = ReplacedFile(tmp_path / "conf")
    (tmp_path / ".conf.next").symlink_to(victim)
    file.replace(b"one")
    (tmp_path / ".conf.next").hardlink_to(victim)
    file.replace(b"two")
    assert b"precious" == victim.read_bytes()
    assert b"two" == (tmp_path / "conf").read_bytes()


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A FIFO in the place of the file is an error and stays."""
    path = tmp_path / "conf"
    os.mkfifo(path)
    with pytest.raises(OSError, match="is not a regular file"):
        ReplacedFile(path).replace(b"new")
    assert path.is_fifo()


def test_prepared_file_is_replaced_on_a_full_disk(disk: Disk) -> None:
    """With its blocks reserved, a replacement succeeds where not one block is free."""
    file = ReplacedFile(disk.folder / "conf")
    file.replace(b"old")
    file.prepare()
    disk.fill()
    file.replace(b"n" * 60_000)
    assert b"n" * 60_000 == (disk.folder / "conf").read_bytes()


def test_old_content_survives_a_full_disk(disk: Disk) -> None:
    """Without a reserve the replacement fails with ENOSPC; old content and no litter are left."""
    file = ReplacedFile(disk.folder / "conf")
    file.replace(b"old")
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        file.replace(b"n" * 60_000)
    assert b"old" == (disk.folder / "conf").read_bytes()
    assert ["conf", "filler"] == names(disk.folder)
