"""Which file a process waits for: a pipe that nobody writes, a file system that does not answer.

Best effort, from ``/proc/PID/syscall`` (number and arguments of the system call that a process
sleeps in; see proc(5)), which the kernel shows only to those who may trace the process.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Final

_OPEN: Final = {"x86_64": {2: 0, 257: 1}, "aarch64": {56: 1}}
"""By machine: the calls that open a file, and which argument is the address of its path."""
_READ: Final = {"x86_64": {0, 17}, "aarch64": {63, 67}}
"""The calls that read, whose first argument is the descriptor."""
_PATH_BYTES: Final = 4096


def blocked_on(pid: int) -> str | None:
    """Return the path that process *pid* sleeps on while it opens or reads it, None if unknown."""
    with suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/syscall").read_text("ascii").split()
        number, arguments = int(words[0]), [int(word, 16) for word in words[1:7]]
        machine = platform.machine()
        if (position := _OPEN.get(machine, {}).get(number)) is not None:
            return _text_at(pid, arguments[position])
        if number in _READ.get(machine, ()):
            path = str(Path(f"/proc/{pid}/fd/{arguments[0]}").readlink())
            return path if path.startswith("/") else None
    return None


def _text_at(pid: int, address: int) -> str | None:
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.pread(fd, _PATH_BYTES, address).partition(b"\0")[0]  # short where memory ends
    finally:
        os.close(fd)
    return os.fsdecode(text) or None
