"""The path that a sleeping process opens is read from its memory, wherever it lies there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compute_ctl.postgres.server import blocked_on
from devstack.wait import wait_until

PAGE = os.sysconf("SC_PAGE_SIZE")
OPENER = """
import ctypes, mmap, sys
path, before_end = sys.argv[1].encode() + b"\\0", int(sys.argv[2])
memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
start = (1 if before_end >= len(path) else 0) * mmap.PAGESIZE + mmap.PAGESIZE - before_end
memory[start : start + len(path)] = path
address = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + start
ctypes.CDLL(None).open(ctypes.c_void_p(address), 0)
"""
"""Opens a FIFO by a path that begins so many bytes before the end of a page."""


@pytest.mark.parametrize("before_end", [3, 1000], ids=["two pages", "one page"])
def test_path_of_an_open_that_waits(tmp_path: Path, before_end: int) -> None:
    """The whole path is returned, also where it crosses into another page."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", OPENER, str(fifo), str(before_end)]

    with subprocess.Popen(command) as process:
        try:
            wait_until("the path", lambda: blocked_on(process.pid) == str(fifo))
        finally:
            process.kill()
