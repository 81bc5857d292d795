"""The server's log through the FIFO: records, losses, survival of the daemon."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_ctl.postgres.logs import PIPE_BYTES, RECORD_BYTES, LogPipe, RecordJoiner

FIRST = "2026-11-22 12:00:00.000 UTC [1] ERROR:  one"
SECOND = "2026-11-22 12:00:01.000 UTC [1] LOG:  two"


def test_lines_of_a_record_are_joined() -> None:
    """A record ends where the next time stamp begins; its lines are joined by U+200B."""
    joiner = RecordJoiner()
    assert joiner.feed(f"{FIRST}\nDETAIL:  more\n\tand more\n{SECOND}\n".encode()) == [
        f"{FIRST}\u200bDETAIL:  more\u200b\tand more"
    ]
    assert [SECOND] == joiner.flush()
    assert [] == joiner.flush()


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_pieces_do_not_matter(size: int) -> None:
    """However the bytes are cut, also inside a character, the records are the same."""
    data = f"{FIRST} äöü\nHINT:  ß\n{SECOND}\n".encode()
    joiner = RecordJoiner()
    records = [
        record
        for start in range(0, len(data), size)
        for record in joiner.feed(data[start : start + size])
    ]
    assert records + joiner.finish() == [f"{FIRST} äöü\u200bHINT:  ß", SECOND]


def test_silence_does_not_cut_a_line() -> None:
    """A flush leaves a line that has not ended; the end takes it."""
    joiner = RecordJoiner()
    joiner.feed(b"half a li")
    assert [] == joiner.flush()
    joiner.feed(b"ne")
    assert ["half a line"] == joiner.finish()


def test_record_is_bounded() -> None:
    """A record without end comes in pieces instead of filling the memory."""
    joiner = RecordJoiner()
    records = []
    for _ in range(100):
        records += joiner.feed(b"x" * 10_000)
    records += joiner.finish()
    assert "x" * 1_000_000 == "".join(records).replace("\u200b", "")
    assert max(map(len, records)) <= 2 * RECORD_BYTES


class Reader:
    """A LogPipe and what came out of it."""

    def __init__(self, path: Path) -> None:
        self.records: asyncio.Queue[str] = asyncio.Queue()
        self.overflows = 0
        self.pipe = LogPipe(path, on_record=self.records.put_nowait, on_overflow=self.overflow)

    def overflow(self) -> None:
        """Count."""
        self.overflows += 1

    async def next(self) -> str:
        """Return the next record."""
        async with asyncio.timeout(5):
            return await self.records.get()


@pytest.fixture
def writers() -> Iterator[list[int]]:
    """Descriptors that are closed at the end."""
    fds: list[int] = []
    yield fds
    for fd in fds:
        os.close(fd)


async def test_record_comes_after_silence(tmp_path: Path, writers: list[int]) -> None:
    """A record that nothing follows is complete after a moment."""
    reader = Reader(tmp_path / "log")
    reader.pipe.open()
    writers.append(reader.pipe.writer())
    os.write(writers[0], f"{FIRST}\nDETAIL:  more\n".encode())
    assert await reader.next() == f"{FIRST}\u200bDETAIL:  more"
    reader.pipe.close()


async def test_hung_daemon_costs_lines_only(tmp_path: Path, writers: list[int]) -> None:
    """Nobody reads: writes go on without blocking, and the loss is noticed afterwards."""
    reader = Reader(tmp_path / "log")
    reader.pipe.open()
    writers.append(reader.pipe.writer())
    line = f"{FIRST}\n".encode()
    written = 0
    while True:
        try:
            written += os.write(writers[0], line)
        except BlockingIOError:
            break
    assert written > PIPE_BYTES // 2
    assert FIRST == await reader.next()
    assert 1 == reader.overflows
    reader.pipe.close()


async def test_next_daemon_reads_on(tmp_path: Path, writers: list[int]) -> None:
    """What is written while no daemon is there is read by the next one."""
    first = Reader(tmp_path / "log")
    first.pipe.open()
    writers.append(first.pipe.writer())
    first.pipe.close()
    os.write(writers[0], f"{SECOND}\n".encode())
    second = Reader(tmp_path / "log")
    second.pipe.open()
    assert SECOND == await second.next()
    assert 0 == second.overflows
    second.pipe.close()


async def test_end_of_the_server_ends_the_record(tmp_path: Path) -> None:
    """When the last writer goes, what it said last is not lost."""
    reader = Reader(tmp_path / "log")
    reader.pipe.open()
    fd = reader.pipe.writer()
    os.write(fd, b"last words")
    os.close(fd)
    assert "last words" == await reader.next()
    reader.pipe.close()


async def test_file_in_the_way_is_replaced(tmp_path: Path) -> None:
    """What lies in the place of the FIFO and is none is removed."""
    (tmp_path / "log").write_text("x")
    reader = Reader(tmp_path / "log")
    reader.pipe.open()
    assert (tmp_path / "log").is_fifo()
    reader.pipe.close()
