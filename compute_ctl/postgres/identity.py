"""Which cluster a data directory holds, and how it was left: the start of global/pg_control.

The layout of these bytes (system identifier, two version numbers, state, time, latest checkpoint)
is the same in every PostgreSQL since 11; the file is native-endian.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, NamedTuple

from compute_ctl.errors import PostgresError

_HEAD: Final = struct.Struct("=QIIi4xqQ")
_PRIMARY_SHUT_DOWN: Final = 1
_SHUT_DOWN: Final = (1, 2)
"""DB_SHUTDOWNED and DB_SHUTDOWNED_IN_RECOVERY."""
_STANDBY, _PRIMARY = 5, 6
"""DB_IN_ARCHIVE_RECOVERY and DB_IN_PRODUCTION, while the server accepts connections."""
_LEFT_BY_PRIMARY: Final = (1, 3, 4, 6)
"""DB_SHUTDOWNED, DB_SHUTDOWNING, DB_IN_CRASH_RECOVERY, DB_IN_PRODUCTION."""
_SIGNALS: Final = ("standby.signal", "recovery.signal")


def system_identifier(pgdata: Path) -> str:
    """Return the cluster's system identifier, decimal. Raises PostgresError."""
    return str(_control(pgdata).identifier)


def major_version(pgdata: Path) -> str | None:
    """Return the major version of the cluster as it names it itself, None where it does not."""
    try:
        return (pgdata / "PG_VERSION").read_text("ascii").strip()[:16] or None
    except (OSError, UnicodeDecodeError):
        return None


def was_shut_down(pgdata: Path) -> bool:
    """Return whether the cluster ended in good order; False where that cannot be told."""
    try:
        return _control(pgdata).state in _SHUT_DOWN
    except PostgresError:
        return False


def in_recovery(pgdata: Path) -> bool | None:
    """Return whether a server that accepts connections is a standby; None: it cannot be told."""
    try:
        return {_STANDBY: True, _PRIMARY: False}.get(_control(pgdata).state)
    except PostgresError:
        return None


def starts_as_primary(pgdata: Path) -> bool:
    """Return whether the cluster was left by a primary, and nobody has made a standby of it.

    False where that cannot be told.
    """
    if any((pgdata / name).exists() for name in _SIGNALS):
        return False
    try:
        return _control(pgdata).state in _LEFT_BY_PRIMARY
    except PostgresError:
        return False


def shutdown_lsn(pgdata: Path) -> str | None:
    """Return where the shutdown checkpoint of a primary is in the log, like ``0/1696F10``.

    All that clients have committed lies before it. None where the last server was a standby, has
    not ended in good order, or this cannot be told.
    """
    try:
        control = _control(pgdata)
    except PostgresError:
        return None
    if control.state != _PRIMARY_SHUT_DOWN:
        return None
    return f"{control.checkpoint >> 32:X}/{control.checkpoint & 0xFFFFFFFF:X}"


def data_dir_inode(pgdata: Path) -> str:
    """Return ``device:inode`` of the data directory. Raises PostgresError."""
    try:
        found = pgdata.stat()
    except OSError as error:
        raise PostgresError(
            f'could not stat data directory "{pgdata}": {error.strerror}'
        ) from error
    return f"{found.st_dev}:{found.st_ino}"


class _Control(NamedTuple):
    identifier: int
    version: int
    catalog: int
    state: int
    time: int
    checkpoint: int


def _control(pgdata: Path) -> _Control:
    path = pgdata / "global" / "pg_control"
    try:
        with path.open("rb") as file:
            return _Control(*_HEAD.unpack(file.read(_HEAD.size)))
    except OSError as error:
        raise PostgresError(f'could not read file "{path}": {error.strerror}') from error
    except struct.error as error:
        raise PostgresError(f'file "{path}" is too short') from error
