"""A store in memory, for what needs one but no disk: other tests and the simulation."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from time import monotonic

from control_plane.errors import StoreError
from control_plane.ports import Commit, Entry, Write
from control_plane.store.commit_log import CommitLog
from control_plane.store.compare_and_swap import prepare
from control_plane.store.leases import Leases


class MemoryStore:
    """A `control_plane.ports.Store` that forgets all when it goes."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.entries: dict[str, Entry] = {}
        self.revision = 0
        self.failure = ""
        """What every call is refused with, if not empty."""
        self.loads = 0
        """How often it was read."""
        self.ready = asyncio.Event()
        """Without it, commits wait."""
        self.ready.set()
        self._log = CommitLog(0)
        self._leases = Leases(clock)

    async def load(self, prefix: str = "") -> tuple[int, list[Entry]]:
        """Return revision and entries."""
        self._fail()
        self.loads += 1
        found = [entry for key, entry in self.entries.items() if key.startswith(prefix)]
        return self.revision, sorted(found, key=lambda entry: entry.key)

    async def commit(self, writes: Sequence[Write]) -> int:
        """Make all or none."""
        await self.ready.wait()
        self._fail()
        commit = prepare(writes, revision_of=self._revision_of, newest=self.revision)
        self.revision = commit.revision
        for entry in commit.entries:
            if entry.value is None:
                del self.entries[entry.key]
            else:
                self.entries[entry.key] = entry
        self._log.append(commit)
        return self.revision

    def watch(self, after: int) -> AsyncGenerator[Commit, None]:
        """Yield the commits after a revision."""
        return self._log.watch(after)

    async def hold_lease(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Take or renew a lease."""
        self._fail()
        return self._leases.hold(name, holder=holder, ttl_s=ttl_s)

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Give up a lease."""
        self._fail()
        self._leases.release(name, holder=holder)

    async def close(self) -> None:
        """Refuse everything from now on."""
        self.failure = "the store is closed"
        self._log.close()

    def _revision_of(self, key: str) -> int:
        entry = self.entries.get(key)
        return entry.revision if entry else 0

    def _fail(self) -> None:
        if self.failure:
            raise StoreError(self.failure)
