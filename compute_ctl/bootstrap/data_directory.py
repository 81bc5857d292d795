"""The data directory before it holds a cluster, and the move of a new one into its place.

    compute_ctl.partial/   what is being made; removed where it was not finished
    PG_VERSION             moved last: without it there is no cluster, for PostgreSQL neither

A cluster is replaced only where `cluster.json` says that this daemon made it from a backup.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import Final

import msgspec

from compute_common.errors import SettingsError
from compute_common.system import failpoint
from compute_common.system.atomic_file import sync_folder
from compute_ctl.bootstrap.origin import Origin, OriginFile
from compute_ctl.errors import BackupError
from compute_ctl.settings import Init

VERSION_FILE: Final = "PG_VERSION"
STAGING: Final = "compute_ctl.partial"
CONFIGURATION: Final = "postgresql.conf"
OURS: Final = ("compute_ctl", f".{CONFIGURATION}.")
"""Prefixes of the names of the daemon's own files, beside the configuration."""
NEEDED: Final = (VERSION_FILE, "global/pg_control")


class DataDirectory:
    """One data directory; methods block on the disk."""

    def __init__(self, path: Path, state_folder: Path) -> None:
        self.path = path
        self._state_folder = state_folder
        self._file = OriginFile(state_folder)

    @property
    def staging(self) -> Path:
        """Where a cluster is made."""
        return self.path / STAGING

    @property
    def holds_cluster(self) -> bool:
        """Whether there is a cluster."""
        return (self.path / VERSION_FILE).exists()

    @property
    def inode(self) -> str:
        """``device:inode``. Raises OSError."""
        found = self.path.stat()
        return f"{found.st_dev}:{found.st_ino}"

    def origin(self) -> Origin | None:
        """Return how the cluster was made, None where this daemon did not make it."""
        return self._file.load(self.inode)

    def foreign(self, names: list[str]) -> list[str]:
        """Return which of *names*, all that are in the directory, are not this daemon's."""
        found = sorted(name for name in names if not self._is_ours(name))
        origin = self.origin() if found else None
        return [] if origin is not None and origin.is_replaceable else found

    def accept(self, init: Init) -> None:
        """Make the directory where it is missing, and refuse one that is somebody else's.

        Raises:
            SettingsError: *init* does not go with what is in it; nothing was changed.
        """
        try:
            if self.holds_cluster:
                self._accept_cluster(init)
                return
            self._accept_without_cluster(init)
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise SettingsError(
                f'could not use data directory "{self.path}": {error.strerror or error}'
            ) from error

    def _accept_without_cluster(self, init: Init) -> None:
        exists = self.path.exists()
        foreign = self.foreign(_names(self.path)) if exists else []
        will_resume = exists and self.origin() is not None and self._can_resume
        if init is Init.NONE and not will_resume:
            raise SettingsError(
                f'data directory "{self.path}" holds no cluster',
                hint="With --init none somebody else makes it; --init auto makes one.",
            )
        if foreign:
            raise SettingsError(
                f'directory "{self.path}" is not empty, but holds no cluster: '
                f'there is "{foreign[0]}"',
                hint="Empty it to have a new cluster made, or name the right one with --pgdata.",
            )

    @property
    def _can_resume(self) -> bool:
        return (self.staging / VERSION_FILE).exists()

    def _accept_cluster(self, init: Init) -> None:
        if init is Init.BASEBACKUP:
            origin = self.origin()
            if origin is None or origin.method != "basebackup":
                raise SettingsError(
                    f'data directory "{self.path}" holds a cluster that compute_ctl '
                    "did not take from a base backup",
                    hint="It is not replaced. Name an empty directory, or use --init auto.",
                )

    def resume(self) -> None:
        """Finish the move of a cluster that a kill interrupted; remove one that was not whole."""
        origin = self.origin() if self.path.exists() else None
        if origin is not None and not origin.complete:
            self._move(origin)
        self.discard()

    def discard(self) -> None:
        """Remove what is being made."""
        if self.staging.exists():
            shutil.rmtree(self.staging)

    def begin(self) -> Path:
        """Return an empty folder to make a cluster in."""
        self.discard()
        self.staging.mkdir(mode=0o700)
        return self.staging

    def install(self, origin: Origin) -> Origin:
        """Move what was made into its place; after a kill `resume` goes on.

        Raises:
            BackupError: it is no cluster.
            OSError: the disk refused, or something else has come into the directory.
        """
        missing = [name for name in NEEDED if not (self.staging / name).is_file()]
        if missing:
            raise BackupError(f'what was made is not a cluster: it has no "{missing[0]}"')
        for name in _names(self.staging):
            if self._is_ours(name):
                _remove(self.staging / name)
        _sync_file_system(self.staging)
        failpoint.reach("before-install")
        origin = msgspec.structs.replace(origin, names=tuple(_names(self.staging)))
        self._file.save(origin)
        failpoint.reach("after-install-begun")
        return self._move(origin)

    def _move(self, origin: Origin) -> Origin:
        staged = set(_names(self.staging)) if self.staging.exists() else set[str]()
        if origin.replaces and VERSION_FILE in staged:
            self._make_room(origin, staged)
        for name in sorted(staged - {VERSION_FILE}):
            (self.staging / name).rename(self.path / name)
            failpoint.reach("in-install")
        sync_folder(self.path)
        if VERSION_FILE in staged:
            failpoint.reach("before-version-file")
            (self.staging / VERSION_FILE).rename(self.path / VERSION_FILE)
            sync_folder(self.path)
        failpoint.reach("before-origin")
        if not self.holds_cluster:  # somebody has removed what was to be moved
            return origin
        done = msgspec.structs.replace(origin, complete=True)
        self._file.save(done)
        self.discard()
        return done

    def _make_room(self, origin: Origin, staged: set[str]) -> None:
        """Remove the cluster that is replaced: all but what has been moved already, and ours."""
        (self.path / VERSION_FILE).unlink(missing_ok=True)
        moved = set(origin.names) - staged
        for name in _names(self.path):
            if name not in moved and not self._is_ours(name):
                _remove(self.path / name)
                failpoint.reach("in-removal")

    def _is_ours(self, name: str) -> bool:
        if name == CONFIGURATION:
            return (self._state_folder / "lock").exists()
        inside = self._state_folder.parent == self.path and name == self._state_folder.name
        return inside or name.startswith(OURS)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _sync_file_system(folder: Path) -> None:
    """Make everything in *folder* survive a power failure: one call for all files."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)
