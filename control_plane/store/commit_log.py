"""The newest commits, in memory, for those who watch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from itertools import islice
from typing import Final

from control_plane.errors import CompactedError
from control_plane.ports import Commit

MAX_COMMITS: Final = 10_000
MAX_BYTES: Final = 16 << 20
"""Of values. The newest commit is kept whatever its size."""


class CommitLog:
    """The commits after some revision; those that watch are woken by the next one.

    To be used in the event loop's thread only.
    """

    def __init__(
        self, revision: int, *, max_commits: int = MAX_COMMITS, max_bytes: int = MAX_BYTES
    ) -> None:
        """*revision*: of the store now; earlier commits are not known."""
        self.newest = revision
        """The revision of the newest commit."""
        self._max_commits = max_commits
        self._max_bytes = max_bytes
        self._commits: deque[Commit] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = asyncio.Event()
        """Replaced at each change."""

    def append(self, commit: Commit) -> None:
        """Add the next commit; one that changes nothing is left out."""
        if not commit.entries:
            return
        self.newest = commit.revision
        self._commits.append(commit)
        self._bytes += _size(commit)
        while len(self._commits) > 1 and (
            len(self._commits) > self._max_commits or self._bytes > self._max_bytes
        ):
            self._bytes -= _size(self._commits.popleft())
        self._wake()

    def close(self) -> None:
        """End all watches."""
        self._closed = True
        self._wake()

    async def watch(self, after: int) -> AsyncGenerator[Commit, None]:
        """Yield each commit after revision *after* until the log is closed.

        Raises:
            CompactedError: the next one is no longer known, or *after* is of another store.
        """
        while not self._closed:
            changed = self._changed
            if (commit := self._next(after)) is not None:
                after = commit.revision
                yield commit
            else:
                await changed.wait()

    def _next(self, after: int) -> Commit | None:
        if after == self.newest:
            return None
        place = after - (self.newest - len(self._commits))
        if not 0 <= place < len(self._commits):
            raise CompactedError(f"what was committed after revision {after} is no longer known")
        return next(islice(self._commits, place, None))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _size(commit: Commit) -> int:
    return sum(len(entry.value or b"") for entry in commit.entries)
