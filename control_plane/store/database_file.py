"""The file of the SQLite database: its lock, its mode, and what an operator can do about errors."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError

BUSY_S: Final = 1.0
"""How long another program may lock the database."""

HINTS: Final = {
    "SQLITE_FULL": "Free space on its file system; nothing is lost, and it goes on by itself.",
    "SQLITE_READONLY": "Its file system is mounted read-only, or the file belongs to someone else.",
    "SQLITE_CORRUPT": "Restore it from a backup; the computes keep their configuration meanwhile.",
    "SQLITE_NOTADB": "Restore it from a backup, or name another file.",
    "SQLITE_IOERR": "See the kernel's log for what is wrong with the disk.",
    "SQLITE_BUSY": "Another program has it open for writing; fuser shows which.",
    "SQLITE_CANTOPEN": "The folder must exist and be writable by the user of the control plane.",
}
"""By the beginning of the error's name."""


def lock(path: Path) -> int:
    """Return the descriptor that holds the lock of the database. Raises SettingsError."""
    fd = -1
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, BlockingIOError):
            raise SettingsError(
                f'store "{path}" is in use by another control plane',
                hint=f"fuser {path}.lock shows its process.",
            ) from None
        raise _cannot_open(path, error) from error
    return fd


def open_file(path: Path) -> sqlite3.Connection:
    """Open the database, or create it. Raises SettingsError and sqlite3.Error."""
    try:
        # The documents have passwords in them; SQLite gives its other files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _cannot_open(path, error) from error
    return sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=16
    )


def _cannot_open(path: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f'could not open store "{path}": {error.strerror}', hint=HINTS["SQLITE_CANTOPEN"]
    )
