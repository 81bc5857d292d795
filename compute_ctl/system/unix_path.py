"""Unix sockets whose path is longer than the kernel takes. A leaf."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

PATH_LIMIT: Final = 107
"""Bytes of a socket's path that the kernel takes (Linux, unix(7))."""

T = TypeVar("T")


def at_path(path: Path, call: Callable[[str], T]) -> T:
    """Call *call* with *path*, or with a short name of it where it is too long. Raises OSError."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        return call(str(path))
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return call(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
