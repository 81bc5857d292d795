"""A store that survives its users: what was committed stays, answered or not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence

from control_plane.errors import ConflictError, StoreError
from control_plane.ports import Commit, Entry, Write
from tests.simulation_control_plane.processes import Process


class Disk:
    """What is stored. `fails`: how often a call comes to nothing, from 0 to 1."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.entries: dict[str, Entry] = {}
        self.commits: list[Commit] = []
        self.leases: dict[str, tuple[str, float]] = {}
        self.fails = 0.0
        self.slow_s = 0.0
        self.failed_at = 0.0
        """When a call failed, or was made slow, last."""
        self.written = asyncio.Event()

    def restore(self, revision: int) -> None:
        """Become what it was at *revision*, as from a backup; nobody may have it open."""
        del self.commits[revision:]
        self.entries = {}
        for commit in self.commits:
            for entry in commit.entries:
                self.entries[entry.key] = entry
        self.entries = {key: it for key, it in self.entries.items() if it.value is not None}

    def write(self, writes: Sequence[Write]) -> int:
        """Commit. Raises ConflictError."""
        for one in writes:
            known = self.entries.get(one.key)
            if one.expected is not None and one.expected != (known.revision if known else 0):
                raise ConflictError(f'"{one.key}" was written by somebody else')
        revision = len(self.commits) + 1
        entries = tuple(Entry(key=it.key, value=it.value, revision=revision) for it in writes)
        for entry in entries:
            if entry.value is None:
                self.entries.pop(entry.key, None)
            else:
                self.entries[entry.key] = entry
        self.commits.append(Commit(revision=revision, entries=entries))
        self.written.set()
        self.written = asyncio.Event()
        return revision


class SimStore:
    """The `Store` of one process; a dead one writes nothing."""

    def __init__(self, disk: Disk, owner: Process) -> None:
        self._disk = disk
        self._owner = owner

    async def load(self, prefix: str = "") -> tuple[int, list[Entry]]:
        """See `ports.Store`."""
        await self._turn()
        self._may_fail()
        found = [self._disk.entries[key] for key in sorted(self._disk.entries)]
        return len(self._disk.commits), [one for one in found if one.key.startswith(prefix)]

    async def commit(self, writes: Sequence[Write]) -> int:
        """See `ports.Store`; what was written may not be answered, as with a remote store."""
        await self._turn()
        self._may_fail()
        revision = self._disk.write(writes)
        await self._turn()
        self._may_fail()
        return revision

    async def watch(self, after: int) -> AsyncGenerator[Commit, None]:
        """See `ports.Store`."""
        while True:
            while after < len(self._disk.commits):
                await self._turn()
                self._may_fail()
                commit = self._disk.commits[after]
                after += 1
                yield commit
            await self._disk.written.wait()

    async def hold_lease(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """See `ports.Store`."""
        await self._turn()
        self._may_fail()
        now = asyncio.get_running_loop().time()
        known = self._disk.leases.get(name)
        if known is not None and known[0] != holder and known[1] > now:
            return False
        self._disk.leases[name] = (holder, now + ttl_s)
        return True

    async def release_lease(self, name: str, *, holder: str) -> None:
        """See `ports.Store`."""
        if self._disk.leases.get(name, ("", 0.0))[0] == holder:
            del self._disk.leases[name]

    async def close(self) -> None:
        """There is nothing to release."""

    async def _turn(self) -> None:
        if self._disk.slow_s:
            self._disk.failed_at = asyncio.get_running_loop().time()
        slow = self._disk.rng.uniform(0.0, self._disk.slow_s)
        await asyncio.sleep(self._disk.rng.uniform(0.0001, 0.002) + slow)
        if not self._owner.up:
            raise asyncio.CancelledError

    def _may_fail(self) -> None:
        if self._disk.rng.random() < self._disk.fails:
            self._disk.failed_at = asyncio.get_running_loop().time()
            raise StoreError("could not write to the store: disk full")
