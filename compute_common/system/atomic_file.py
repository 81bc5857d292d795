"""Atomic replacement of a file, also on a full disk; and reading one. A leaf.

A `ReplacedFile` keeps the temporary file of its *next* replacement beside the live one, with its
blocks already allocated, so that it succeeds on a disk that has become full. Rules:

- one writer at a time: the daemon's lock file ensures that between processes, the owner of the
  object between threads;
- a symbolic link is kept and its target replaced: an operator may have moved the configuration;
- the temporary file is never opened through a link, nor reused if it has a second name;
- mode and owner of the old file are kept; a new file gets `new_mode`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from compute_common.system import failpoint

RESERVE_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 64 * 1024


class ReplacedFile:
    """A file that is only ever replaced as a whole. All methods raise plain OSError."""

    def __init__(
        self,
        path: Path,
        *,
        new_mode: int = 0o600,
        reserve_bytes: int = RESERVE_BYTES,
        keep_owner: bool = False,
    ) -> None:
        self._path = path
        self._new_mode = new_mode
        self._reserve_bytes = reserve_bytes
        self._keep_owner = keep_owner
        """Fail where the owner of the file cannot be kept."""

    @property
    def target(self) -> Path:
        """The file that is replaced, links resolved."""
        # resolve() looks at each folder above; a heal should not wait for that.
        return self._path.resolve() if self._path.is_symlink() else self._path

    def prepare(self) -> None:
        """Allocate the temporary file of the next replacement."""
        with _opened(self._temporary(self.target)) as fd:
            os.posix_fallocate(fd, 0, self._reserve_bytes)

    def replace(self, data: bytes, *, durable: bool = True) -> None:
        """Make *data* the content; on an error the old content is still there.

        Returns when the content is on disk; the rename is durable after `sync`. Without *durable*
        the content survives a crash of the daemon only, until `sync_file`.
        """
        target = self.target
        temporary = self._temporary(target)
        old = _regular(target)
        try:
            with _opened(temporary) as fd:
                _write_all(fd, data)
                os.ftruncate(fd, len(data))
                self._inherit(fd, old)
                if durable:
                    os.fsync(fd)
            failpoint.reach(f"before-rename {target.name}")
            temporary.replace(target)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def sync(self) -> None:
        """Make the last replacement survive a power failure."""
        sync_folder(self.target.parent)

    @staticmethod
    def _temporary(target: Path) -> Path:
        return target.with_name(f".{target.name}.next")

    def _inherit(self, fd: int, old: os.stat_result | None) -> None:
        if old is None:
            os.fchmod(fd, self._new_mode)
            return
        mine = os.fstat(fd)
        if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
            try:
                os.fchown(fd, old.st_uid, old.st_gid)
            except PermissionError:
                if self._keep_owner:
                    raise
        os.fchmod(fd, stat.S_IMODE(old.st_mode))


def read_regular(path: Path, *, max_bytes: int, follow: bool = True) -> bytes:
    """Return the bytes of a regular file; does not block on a FIFO.

    Raises:
        OSError: also where it is no regular file, or longer than *max_bytes*.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    fd = os.open(path, flags)
    raw = bytearray()
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("it is not a regular file")
        while len(raw) <= max_bytes and (part := os.read(fd, _CHUNK_BYTES)):
            raw += part
    finally:
        os.close(fd)
    if len(raw) > max_bytes:
        raise OSError(f"it is larger than {max_bytes} bytes")
    return bytes(raw)


def sync_file(path: Path) -> None:
    """Make what was written to *path* survive a power failure."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in *folder* survive a power failure."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _regular(path: Path) -> os.stat_result | None:
    """Return the status of the file to be replaced, None if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f'"{path}" is not a regular file')
    return found


@contextmanager
def _opened(temporary: Path) -> Iterator[int]:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    fd = -1
    with suppress(OSError):
        fd = os.open(temporary, flags)
    if fd >= 0:
        found = os.fstat(fd)
        if not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
            os.close(fd)
            fd = -1
    if fd < 0:
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, flags | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    offset = 0
    while offset < len(view):
        offset += os.pwrite(fd, view[offset:], offset)
