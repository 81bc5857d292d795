"""Writes, and a process that makes them, for tests of stores."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control_plane.ports import Write

COMMITTER = """
import asyncio, sys
from control_plane.ports import Write
from control_plane.store.opening import open_store

async def commit(store, number):
    writes = [Write(key=f"{number}/{side}", value=b"x" * 5000) for side in "ab"]
    revision = await store.commit(writes)
    print(number, revision, flush=True)

async def main():
    store = await open_store(sys.argv[1])
    print("open", flush=True)
    for number in range(0, 1_000_000, 5):
        await asyncio.gather(*(commit(store, number + more) for more in range(5)))

asyncio.run(main())
"""
"""Commits five at a time, each of two keys, and says which were answered."""


def write(key: str, value: bytes = b"{}", expected: int | None = None) -> Write:
    """A change of one key."""
    return Write(key=key, value=value, expected=expected)


@contextmanager
def committer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that commits as fast as it can; killed in the end."""
    command = [sys.executable, "-c", COMMITTER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "open\n" == process.stdout.readline()
            yield process
        finally:
            process.kill()
