"""Which changes of the store may be under way at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Scope:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    """Tasks that hold the lock or wait for it."""


class ChangeLocks:
    """A lock for each scope, such as a tenant, and one for everything: the scope None.

    Changes of different scopes run side by side. A change of everything runs alone: it waits until
    those under way have ended, and later ones wait until it has.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, _Scope] = {}
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
        wanted = self._scopes.setdefault(scope, _Scope())
        wanted.users += 1
        try:
            await wanted.lock.acquire()
        except BaseException:
            self._leave(scope)
            raise
        try:
            async with self._gate:
                self._running += 1
                self._idle.clear()
        except BaseException:
            wanted.lock.release()
            self._leave(scope)
            raise

    def release(self, scope: str | None) -> None:
        """Give up the lock of *scope*."""
        if scope is None:
            self._gate.release()
            return
        self._running -= 1
        if not self._running:
            self._idle.set()
        self._scopes[scope].lock.release()
        self._leave(scope)

    def _leave(self, scope: str) -> None:
        self._scopes[scope].users -= 1
        if not self._scopes[scope].users:
            del self._scopes[scope]
