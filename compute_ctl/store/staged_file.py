"""A candidate in a temporary file beside the live one, for `postgres -C` to read.

Daemon and commands may check at the same time. Each holds a lock on its file, so that the next one
recognizes and removes what a killed process has left, even if its pid is in use again.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def staged(beside: Path, name: str, text: str) -> Iterator[Path]:
    """Keep *text* in a file in the folder of *beside*, named after *name*; remove it at the end.

    Raises:
        OSError: it cannot be written.
    """
    prefix = f".{name}.check."
    _sweep(beside.parent, prefix)
    fd, path = _locked(beside.parent, f"{prefix}{os.getpid()}.")
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(text.encode())
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(fd)


def _locked(folder: Path, prefix: str) -> tuple[int, Path]:
    """Return a new file, locked against `_sweep`."""
    while True:
        fd, path = tempfile.mkstemp(prefix=prefix, dir=folder)
        try:
            with suppress(OSError):  # network file systems may lock nothing
                fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return fd, Path(path)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # swept before it was locked


def _sweep(folder: Path, prefix: str) -> None:
    """Remove the files of dead processes; never raises."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(prefix):
                _remove_dead(path)


def _remove_dead(path: Path) -> None:
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(fd)
