"""Which changes of the store may be under way at the same time."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class ChangeLocks:
    """A lock for each scope, such as a tenant, and one for everything: the scope None.

    Changes of different scopes run side by side. A change of everything runs alone: it waits until
    those under way have ended, and later ones wait until it has.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """A lock is there while a task holds it or waits for it."""
        self._held: dict[str, asyncio.Lock] = {}
        self._gate = asyncio.Lock()
        """Held by a change of everything; any other takes it for a moment before it begins."""
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def acquire(self, scope: str | None) -> None:
        """Wait for the lock of *scope*."""
        if scope is None:
            await self._gate.acquire()
            try:
                await self._idle.wait()
            except BaseException:
                self._gate.release()
                raise
            return
        lock = self._locks.setdefault(scope, asyncio.Lock())
        await lock.acquire()
        try:
            async with self._gate:
                self._running += 1
                self._idle.clear()
        except BaseException:
            lock.release()
            raise
        self._held[scope] = lock

    def release(self, scope: str | None) -> None:
        """Give up the lock of *scope*."""
        if scope is None:
            self._gate.release()
            return
        self._running -= 1
        if not self._running:
            self._idle.set()
        self._held.pop(scope).release()
