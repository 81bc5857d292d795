"""Unpacks the tar of a base backup, whose content is not trusted.

Taken are regular files and directories with relative names. Refused are links, devices, names with
``..``, and extension headers (long names, PAX), none of which a pageserver sends. So nothing
outside the folder can be reached, and no header makes the reader allocate. Modes and owners are
ignored.
The module `tarfile` parses the headers only: its reader holds extension headers in memory as a
whole, and takes an archive that ends early for complete.
"""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from compute_ctl.errors import BackupError

BLOCK: Final = tarfile.BLOCKSIZE
PIECE: Final = 256 * 1024
END: Final = bytes(BLOCK)
MAX_DEPTH: Final = 16


class Source(Protocol):
    """Where the archive is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, b"" only at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveLimits:
    """More than this is refused."""

    bytes: int = 64 << 30
    """Of all files together."""
    members: int = 1_000_000
    trailing_bytes: int = 16 << 20
    """After the end of the archive; tar pads with zeros."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpacked:
    """What an archive held."""

    bytes: int
    """Of all files together."""
    members: int


def unpack(
    source: Source,
    folder: Path,
    *,
    skip: frozenset[str] = frozenset(),
    refuse: tuple[str, ...] = (),
    limits: ArchiveLimits | None = None,
) -> Unpacked:
    """Unpack into *folder*, and read *source* to its end: an error may follow the archive.

    *skip*: names at the top that are left out. *refuse*: prefixes of names at the top that no
    archive may have.

    Raises:
        BackupError: the archive is refused, or not complete.
        OSError: it could not be written.
    """
    limits = limits or ArchiveLimits()
    total = members = 0
    while (block := _exactly(source, BLOCK)) != END:
        member = _member(block)
        name = _safe_name(member, refuse)
        members += 1
        total += member.size
        if members > limits.members or total > limits.bytes:
            raise BackupError(
                f"the archive has more than {limits.members} members or {limits.bytes} bytes"
            )
        target = folder / name if not name.parts or name.parts[0] not in skip else None
        if not member.isdir():
            _take(source, member, target)
        elif target is not None:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
    left = limits.trailing_bytes
    while data := source.read(PIECE):
        left -= len(data)
        if left < 0:
            raise BackupError(f"more than {limits.trailing_bytes} bytes follow the archive")
    return Unpacked(bytes=total, members=members)


def _member(block: bytes) -> tarfile.TarInfo:
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
        raise BackupError(f"the archive has a bad header: {error}") from None
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        raise BackupError(f"archive member {member.name!r} is neither a file nor a directory")
    if member.size < 0 or (member.isdir() and member.size):
        raise BackupError(f"archive member {member.name!r} has a wrong size")
    return member


def _safe_name(member: tarfile.TarInfo, refuse: tuple[str, ...]) -> PurePosixPath:
    """Return the name, which cannot lead out of the folder."""
    name = PurePosixPath(member.name)
    parts = name.parts
    unsafe = name.is_absolute() or ".." in parts or len(parts) > MAX_DEPTH
    if not parts and member.isdir():  # "./", the folder itself
        return name
    if unsafe or not parts or parts[0].startswith(refuse):
        raise BackupError(f"archive member {member.name!r} has a name that is not allowed")
    return name


def _take(source: Source, member: tarfile.TarInfo, target: Path | None) -> None:
    """Write a file, or read over it; a later one of the same name counts."""
    fd = None
    if target is not None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(target, flags, 0o600)
    try:
        left = member.size
        while left:
            data = _some(source, min(left, PIECE))
            left -= len(data)
            if fd is not None:
                _write(fd, data)
    finally:
        if fd is not None:
            os.close(fd)
    if padding := -member.size % BLOCK:
        _exactly(source, padding)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _some(source: Source, size: int) -> bytes:
    data = source.read(size)
    if not data:
        raise BackupError("the archive is not complete")
    return data


def _exactly(source: Source, size: int) -> bytes:
    data = _some(source, size)
    while len(data) < size:
        data += _some(source, size - len(data))
    return data
