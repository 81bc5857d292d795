"""The server's stderr, collected into the daemon's log.

The pipe is a FIFO in the state folder, of 1 MiB, and Postgres writes to it without blocking: a
daemon that hangs costs log lines, never a query. Postgres holds it for reading too, so it never
meets a broken pipe, and a daemon that is restarted after a crash continues where the old one
stopped.

One record of the server may be several lines; they are joined by U+200B, as the reference does it,
and a record ends with the next time stamp, or after 100 ms of silence.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import select
import stat
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

PIPE_BYTES: Final = 1024 * 1024
RECORD_BYTES: Final = 64 * 1024
"""A longer record is split, which bounds the memory used."""
SILENCE_S: Final = 0.1
JOINT: Final = "\u200b"
_READ_BYTES: Final = 64 * 1024
_TIME_STAMP: Final = re.compile(rb"\d+-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")


class RecordJoiner:
    """Joins chunks of bytes into records. Pure."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[str]:
        """Take *data*; return the records that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > RECORD_BYTES:
            lines.append(self._rest)
            self._rest = b""
        records = []
        for line in lines:
            starts = _TIME_STAMP.match(line) is not None
            if self._lines and (starts or self._size + len(line) > RECORD_BYTES):
                records.append(self._take())
            self._lines.append(line)
            self._size += len(line)
        return records

    def flush(self) -> list[str]:
        """Return the record without waiting for the next; an unfinished line stays."""
        return [self._take()] if self._lines else []

    def finish(self) -> list[str]:
        """Return the last record, with an unfinished line."""
        if self._rest:
            self._lines.append(self._rest)
            self._rest = b""
        return self.flush()

    def _take(self) -> str:
        text = b"\n".join(self._lines).decode(errors="replace").replace("\n", JOINT)
        self._lines = []
        self._size = 0
        return text


class LogPipe:
    """The FIFO and its reader; use it in the event loop only."""

    def __init__(
        self, path: Path, *, on_record: Callable[[str], None], on_overflow: Callable[[], None]
    ) -> None:
        self._path = path
        self._on_record = on_record
        self._on_overflow = on_overflow
        self._joiner = RecordJoiner()
        self._fd = -1
        self._flush_timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Start reading, also what an earlier daemon left in the pipe. Raises OSError."""
        self.close()
        try:
            os.mkfifo(self._path, 0o600)
        except FileExistsError:
            if not stat.S_ISFIFO(self._path.lstat().st_mode):
                self._path.unlink()
                os.mkfifo(self._path, 0o600)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags)
        with suppress(OSError):  # the user's limit on pipe pages: then it is smaller
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def writer(self) -> int:
        """Return a descriptor to be the server's stderr; the caller closes it. Raises OSError."""
        return os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)

    def drain(self) -> None:
        """Read what the server has written so far; its last record counts as complete."""
        while self._fd >= 0 and self._read():
            pass
        if self._fd >= 0:
            self._cancel_flush()
            self._flush()

    def close(self) -> None:
        """Read the rest, and stop reading."""
        if self._fd < 0:
            return
        while self._read():
            pass
        self._end()

    def _end(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
        self._cancel_flush()
        self._emit(self._joiner.finish())

    def _readable(self) -> None:
        if self._read() == b"":
            self._end()  # the last writer is gone

    def _read(self) -> bytes | None:
        """Read once and return the data: None if there is none, b"" at the end of file."""
        if self._is_full():
            self._on_overflow()
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return None
        self._cancel_flush()
        self._emit(self._joiner.feed(data))
        if data:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(SILENCE_S, self._flush)
        return data

    def _flush(self) -> None:
        self._flush_timer = None
        self._emit(self._joiner.flush())

    def _cancel_flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None

    def _emit(self, records: list[str]) -> None:
        for record in records:
            self._on_record(record)

    def _is_full(self) -> bool:
        """Return whether the pipe is full, so that a write would be lost."""
        waiting = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, b"\0" * 4))[0]
        if waiting < fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ) // 2:
            return False  # a page is never less than half full when the next one is taken
        with suppress(OSError):
            fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return not select.select([], [fd], [], 0)[1]
            finally:
                os.close(fd)
        return False
