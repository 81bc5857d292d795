"""Unix sockets with paths longer than the kernel accepts. A leaf."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

PATH_LIMIT: Final = 107
"""Longest path of a socket in bytes (Linux, unix(7))."""

T = TypeVar("T")


def at_path(path: Path, call: Callable[[str], T]) -> T:
    """Call *call* with *path*, or with a shorter path to it if it is too long. Raises OSError."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        return call(str(path))
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return call(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
