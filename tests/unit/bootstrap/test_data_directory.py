"""The data directory before there is a cluster, and the move of one into its place."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from compute_common.errors import SettingsError
from compute_ctl.bootstrap.data_directory import STAGING, DataDirectory
from compute_ctl.bootstrap.origin import Origin
from compute_ctl.errors import BackupError
from compute_ctl.settings import Init

AT = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    """An empty data directory with the daemon's own files."""
    made = DataDirectory(tmp_path / "data", tmp_path / "data" / "compute_ctl")
    made.accept(Init.AUTO)
    (made.path / "compute_ctl").mkdir()
    (made.path / "compute_ctl" / "lock").touch()
    (made.path / "postgresql.conf").write_text("ours")
    return made


def fill(folder: Path, version: str = "15") -> None:
    """Make something like a cluster."""
    (folder / "global").mkdir()
    (folder / "global" / "pg_control").write_text(version)
    (folder / "base").mkdir()
    (folder / "PG_VERSION").write_text(version)
    (folder / "postgresql.conf").write_text("theirs")


def origin(directory: DataDirectory, *, replaces: bool = False) -> Origin:
    """How the cluster was made."""
    return Origin(data_dir_inode=directory.inode, method="basebackup", at=AT, replaces=replaces)


def tree(folder: Path) -> dict[str, str]:
    """Every file but those of the daemon."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "compute_ctl" not in path.parts
    }


def test_install(directory: DataDirectory) -> None:
    """The cluster comes into its place; the configuration stays the daemon's."""
    fill(directory.begin())

    done = directory.install(origin(directory))

    assert {"PG_VERSION": "15", "global/pg_control": "15", "postgresql.conf": "ours"} == tree(
        directory.path
    )
    assert done.complete
    assert done == directory.origin()
    assert not (directory.path / STAGING).exists()


def test_replaces_what_it_made(directory: DataDirectory) -> None:
    """A cluster made before goes, with all that its server left; nothing is mixed."""
    fill(directory.begin())
    directory.install(origin(directory))
    (directory.path / "base" / "5").write_text("old")
    (directory.path / "pg_wal").mkdir()

    fill(directory.begin(), "16")
    directory.install(origin(directory, replaces=True))

    assert "16" == (directory.path / "global" / "pg_control").read_text()
    assert ["base", "compute_ctl", "global"] == sorted(
        path.name for path in directory.path.iterdir() if path.is_dir()
    )
    assert [] == list((directory.path / "base").iterdir())


def test_does_not_replace_what_came_in_between(directory: DataDirectory) -> None:
    """A file that somebody puts there while a first backup runs is not removed."""
    fill(directory.begin())
    (directory.path / "base").mkdir()
    (directory.path / "base" / "letters").write_text("dear")

    with pytest.raises(OSError, match="not empty"):
        directory.install(origin(directory))

    assert "dear" == (directory.path / "base" / "letters").read_text()
    assert not directory.holds_cluster


@pytest.mark.parametrize("lacks", ["PG_VERSION", "global/pg_control"])
def test_no_cluster(directory: DataDirectory, lacks: str) -> None:
    """What lacks a file that every cluster has is not installed."""
    fill(directory.begin())
    (directory.staging / lacks).unlink()

    with pytest.raises(BackupError, match=lacks):
        directory.install(origin(directory))

    assert not directory.holds_cluster
    assert directory.origin() is None


def test_what_was_not_finished_is_removed(directory: DataDirectory) -> None:
    """A folder in which something was being made goes at the next start."""
    fill(directory.begin())

    directory.resume()

    assert {"postgresql.conf": "ours"} == tree(directory.path)
    assert not directory.holds_cluster


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """A directory with something else in it is not touched."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "letters.txt").write_text("dear")
    folder.chmod(0o755)
    directory = DataDirectory(folder, folder / "compute_ctl")

    for init in Init:
        with pytest.raises(SettingsError, match="holds no cluster"):
            directory.accept(init)

    assert ["letters.txt"] == [path.name for path in folder.iterdir()]
    assert 0o40755 == folder.stat().st_mode


def test_missing_directory(tmp_path: Path) -> None:
    """It is made where a cluster is to be made; an empty one gets the mode that Postgres wants."""
    folder = tmp_path / "a" / "data"
    directory = DataDirectory(folder, folder / "compute_ctl")
    with pytest.raises(SettingsError, match="holds no cluster"):
        directory.accept(Init.NONE)
    assert not folder.exists()

    directory.accept(Init.AUTO)
    assert 0o40700 == folder.stat().st_mode
    folder.chmod(0o755)
    directory.accept(Init.BASEBACKUP)
    assert 0o40700 == folder.stat().st_mode


def test_a_new_cluster_is_never_replaced(directory: DataDirectory) -> None:
    """One made by initdb has pages that are nowhere else, even where its PG_VERSION is gone."""
    fill(directory.begin())
    made = replace(origin(directory), method="initdb")
    assert made.is_replaceable
    assert not directory.install(made).is_replaceable
    (directory.path / "PG_VERSION").unlink()

    for init in Init:
        with pytest.raises(SettingsError, match="holds no cluster"):
            directory.accept(init)

    assert (directory.path / "global" / "pg_control").exists()


def test_what_was_to_be_moved_is_gone(directory: DataDirectory) -> None:
    """Then there is no cluster, and nothing says that there is."""
    fill(directory.begin())
    directory.install(origin(directory))
    directory._file.save(replace(origin(directory), names=("PG_VERSION",)))
    (directory.path / "PG_VERSION").unlink()

    directory.resume()

    found = directory.origin()
    assert found is not None
    assert not found.complete


def test_foreign_cluster(tmp_path: Path) -> None:
    """A cluster that the daemon did not make is taken as it is, and never for a backup."""
    folder = tmp_path / "data"
    folder.mkdir()
    fill(folder)
    directory = DataDirectory(folder, folder / "compute_ctl")

    directory.accept(Init.AUTO)
    directory.accept(Init.NONE)
    with pytest.raises(SettingsError, match="did not take from a base backup"):
        directory.accept(Init.BASEBACKUP)


def test_a_copied_directory_is_not_ours(directory: DataDirectory, tmp_path: Path) -> None:
    """What `cluster.json` says is of one directory; a copy of it is somebody else's."""
    fill(directory.begin())
    directory.install(origin(directory))
    copy = tmp_path / "copy"
    directory.path.rename(copy)
    copy.rename(directory.path)
    assert directory.origin() is not None

    (tmp_path / "other").mkdir()
    (copy_state := tmp_path / "other" / "compute_ctl").mkdir()
    (copy_state / "cluster.json").write_bytes(
        (directory.path / "compute_ctl" / "cluster.json").read_bytes()
    )

    assert DataDirectory(tmp_path / "other", copy_state).origin() is None
