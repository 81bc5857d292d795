"""A folder that Kubernetes keeps up to date (a ConfigMap or Secret), and when its files change.

The kubelet writes a new hidden folder, and lets the link `..data` name it by a rename; the files
are links through `..data`. So they change all at once, and a file is never half written. Source:
`AtomicWriter` of the kubelet. A file mounted by `subPath` has no such link, and is never replaced.

The kernel tells of the rename (inotify, by ctypes: Python has no module for it).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path
from typing import Final, Self

DATA_LINK: Final = "..data"
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_READ_BYTES: Final = 64 * 1024


def is_projected(file: Path) -> bool:
    """Return whether Kubernetes keeps *file* up to date."""
    return (file.parent / DATA_LINK).is_symlink()


class RenameWatch:
    """Tells when a name appears in a folder; use it as a context manager in one event loop."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError: the kernel does not watch it, for example since too many are watched."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if libc.inotify_add_watch(self._fd, os.fsencode(folder), _IN_MOVED_TO | _IN_CREATE) < 0:
            number = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(number, os.strerror(number), str(folder))

    async def wait(self) -> None:
        """Return when something has appeared since the last call, or the folder is gone."""
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._fd, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._fd)
        os.read(self._fd, _READ_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
