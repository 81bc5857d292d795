"""A store that tells how long its commits take."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence

from control_plane.ports import Commit, Entry, Store, Write


class MeasuredStore:
    """Passes everything on to another `ports.Store`."""

    def __init__(self, store: Store, *, on_commit: Callable[[float], None]) -> None:
        """*on_commit* gets the seconds of each commit, also of one that failed."""
        self._store = store
        self._on_commit = on_commit

    async def load(self, prefix: str = "") -> tuple[int, list[Entry]]:
        """See `ports.Store`."""
        return await self._store.load(prefix)

    async def commit(self, writes: Sequence[Write]) -> int:
        """See `ports.Store`."""
        begin = time.monotonic()
        try:
            return await self._store.commit(writes)
        finally:
            self._on_commit(time.monotonic() - begin)

    def watch(self, after: int) -> AsyncGenerator[Commit, None]:
        """See `ports.Store`."""
        return self._store.watch(after)

    async def hold_lease(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """See `ports.Store`."""
        return await self._store.hold_lease(name, holder=holder, ttl_s=ttl_s)

    async def release_lease(self, name: str, *, holder: str) -> None:
        """See `ports.Store`."""
        await self._store.release_lease(name, holder=holder)

    async def close(self) -> None:
        """See `ports.Store`."""
        await self._store.close()
