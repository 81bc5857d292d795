"""The history file in the state folder: one JSON line per attempt, about 2 MiB in two files.

It is advisory: nothing depends on it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from compute_common.system.atomic_file import read_regular

_log = logging.getLogger(__name__)

FILE_BYTES: Final = 1024 * 1024
MAX_READ_BYTES: Final = 16 * 1024 * 1024
TAIL_BYTES: Final = 64 * 1024
"""Where `last_attempt` searches; an entry has a few hundred bytes."""


def append(folder: Path, entry: Mapping[str, object]) -> None:
    """Append *entry*. Never raises."""
    path = folder / "history.jsonl"
    try:
        line = msgspec.json.encode(dict(entry)) + b"\n"
        if path.exists() and path.stat().st_size + len(line) > FILE_BYTES:
            path.replace(path.with_name("history.jsonl.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)
    except (OSError, TypeError, msgspec.MsgspecError) as error:
        reason = getattr(error, "strerror", None) or error
        _log.warning('could not write file "%s": %s', path, reason)


def read(folder: Path, limit: int = 100) -> list[dict[str, Any]]:
    """Return the last *limit* entries, oldest first; broken lines are left out."""
    entries: list[dict[str, Any]] = []
    for name in ("history.jsonl.1", "history.jsonl"):
        with suppress(OSError):
            raw = read_regular(folder / name, max_bytes=MAX_READ_BYTES, follow=False)
            for line in raw.splitlines():
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    entries.append(msgspec.json.decode(line, type=dict[str, Any]))
    return entries[-limit:]


def last_attempt(folder: Path) -> int:
    """Return the highest number of an attempt among the last entries, 0 where there is none."""
    for name in ("history.jsonl", "history.jsonl.1"):
        numbers = [0]
        with suppress(OSError):
            for line in _tail(folder / name).splitlines():
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    numbers.append(msgspec.json.decode(line, type=_Numbered).number)
        if (highest := max(numbers)) > 0:
            return highest
    return 0


class _Numbered(msgspec.Struct):
    """The part of an entry that is needed; work on the catalog has no number."""

    number: int = 0


def _tail(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.pread(fd, TAIL_BYTES, max(0, os.fstat(fd).st_size - TAIL_BYTES))
    finally:
        os.close(fd)
