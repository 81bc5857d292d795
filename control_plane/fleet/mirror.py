"""The store's content in memory, kept up to date by its watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from control_plane.decisions.model import (
    ComputeRecord,
    HistoryEvent,
    NodeList,
    TenantRecord,
    Verdict,
)
from control_plane.decisions.view_state import Moment
from control_plane.errors import CompactedError, ConflictError, StoreError
from control_plane.fleet.change_locks import ChangeLocks
from control_plane.fleet.event_history import HISTORY, EventHistory
from control_plane.ports import Clock, Entry, Store, Write

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Struct)

COMPUTES: Final = "computes/"
TENANTS: Final = "tenants/"
NODES: Final = "nodes"
RETIRED: Final = "retired/"
"""The generations that deleted computes have used: a new one of the same id goes on above."""
RETRY_S: Final = 1.0
"""Between two tries to read a store that does not answer."""
COMMIT_TRIES: Final = 5
"""A commit that meets the write of another replica is decided anew so often."""


class Retired(Struct, frozen=True, kw_only=True):
    """What is kept of a deleted compute."""

    generation: int


class Mirror:
    """What the store holds, decoded; `change` is the only way to write to it."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        on_change: Callable[[ComputeRecord | None, str], None],
    ) -> None:
        """*on_change* gets each compute whose record changed (None: deleted), and its id."""
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._revisions: dict[str, int] = {}
        """By key, of the entries here; a deleted key keeps that of its deletion."""
        self._revision = 0
        self._locks = ChangeLocks()
        self._changing: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Lock()
        self._doubts = 0
        """How many commits have failed: it is not known what the store holds since."""
        self._settled = 0
        """How many of them had failed when all was read anew last."""
        self._history = EventHistory()
        self.computes: dict[str, ComputeRecord] = {}
        self.tenants: dict[str, TenantRecord] = {}
        self.nodes = NodeList()
        self.retired: dict[str, int] = {}
        self.history: Sequence[HistoryEvent] = self._history.events
        self.verdicts: Sequence[Verdict] = self._history.verdicts
        """Those of the history."""
        self.dated_history = self._history.dated
        """Returns the history, with the moment at which this process has learned of each event."""
        self._failing = asyncio.Event()
        self.failure = ""
        """Why the store did not take what was written last; '' where it did."""
        self.failures = 0

    async def load(self) -> None:
        """Read everything anew. Raises StoreError."""
        doubts = self._doubts
        try:
            revision, entries = await self._store.load()
        except StoreError as error:
            self._failed(error)
            raise
        present = {entry.key for entry in entries}
        gone = [key for key in self._revisions if key not in present]
        self._take_all(entries)
        self._take_all(Entry(key=key, value=None, revision=revision) for key in gone)
        self._revision = max(self._revision, revision)
        self._settled = max(self._settled, doubts)

    async def run(self) -> None:
        """Follow the store until cancelled; what other replicas write comes in this way."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._recover())

    async def _recover(self) -> None:
        """Write something after each failure, until the store takes it: nobody else may write."""
        while True:
            await self._failing.wait()
            await asyncio.sleep(RETRY_S)
            with suppress(StoreError):
                await self.change(self._recovery)

    def _recovery(self) -> list[Write]:
        return [self.event("store", f"the store answers again, after: {self.failure}")]

    async def _follow(self) -> None:
        while True:
            try:
                async with aclosing(self._store.watch(self._revision)) as commits:
                    async for commit in commits:
                        self._take_all(commit.entries)
                        self._revision = max(self._revision, commit.revision)
            except CompactedError:
                await self._reload()
            except StoreError as error:
                self._failed(error)
                await asyncio.sleep(RETRY_S)
                await self._reload()

    async def change(
        self, decide: Callable[[], Sequence[Write]], *, scope: str | None = None
    ) -> None:
        """Commit what *decide* returns; called again where another replica was faster.

        *scope*: a tenant, where nothing but it and its computes is written, and nothing else is
        read that others may write in their scope; None: anything. Changes of several scopes are
        committed side by side, so that a store can write them together.

        A caller that is cancelled meanwhile does not stop it: its outcome must be known before
        anything else is decided in its scope, or all must be read anew.

        Raises:
            StoreError: nothing of it counts here; in a remote store it may be written all the same.
        """
        await self._locks.acquire(scope)
        change = asyncio.create_task(self._change(decide), name="change of the store")
        self._changing.add(change)
        change.add_done_callback(self._changing.discard)
        change.add_done_callback(lambda _: self._locks.release(scope))
        await asyncio.shield(change)

    async def _change(self, decide: Callable[[], Sequence[Write]]) -> None:
        for left in reversed(range(COMMIT_TRIES)):
            await self._settle()
            decided = decide()
            if not decided:
                return
            pruned = self._history.prune()
            writes = [*decided, *pruned]
            try:
                revision = await self._commit(writes)
            except ConflictError:
                self._doubts += 1
                if not left:
                    raise
                continue
            finally:
                if pruned:
                    self._history.pruned()
            self._take_all(Entry(key=one.key, value=one.value, revision=revision) for one in writes)
            return

    async def _settle(self) -> None:
        """Read all anew where it is not known what the store holds. Raises StoreError."""
        while self._settled < self._doubts:
            async with self._reading:
                if self._settled < self._doubts:
                    await self.load()

    def write(self, key: str, value: Struct | None) -> Write:
        """Return the write of *value*, on condition that nobody wrote the key since."""
        known = key in self._revisions and self._exists(key)
        return Write(
            key=key,
            value=None if value is None else msgspec.json.encode(value),
            expected=self._revisions[key] if known else 0,
        )

    def event(self, kind: str, text: str, **about: Any) -> Write:
        """Return the write of a `HistoryEvent` with these fields, of now."""
        event = HistoryEvent(at=self._clock.wall(), kind=kind, text=text, **about)
        return self._history.write(event)

    async def _commit(self, writes: list[Write]) -> int:
        try:
            revision = await self._store.commit(writes)
        except ConflictError:
            raise
        except StoreError as error:
            self._doubts += 1
            self._failed(error)
            raise
        except asyncio.CancelledError:
            self._doubts += 1
            raise
        self.failure = ""
        self._failing.clear()
        return revision

    def _exists(self, key: str) -> bool:
        if key.startswith(COMPUTES):
            return key.removeprefix(COMPUTES) in self.computes
        if key.startswith(TENANTS):
            return key.removeprefix(TENANTS) in self.tenants
        return True

    def _failed(self, error: StoreError) -> None:
        if not self.failure:
            logger.error("%s", error)
        self.failure = str(error)
        self.failures += 1
        self._failing.set()

    async def _reload(self) -> None:
        with suppress(StoreError):
            await self.load()

    def _take_all(self, entries: Iterable[Entry]) -> None:
        now = Moment(monotonic=self._clock.monotonic(), wall=self._clock.wall())
        for entry in entries:
            self._take(entry, now)

    def _take(self, entry: Entry, now: Moment) -> None:
        """Take *entry*, unless what is here is as new."""
        if self._revisions.get(entry.key, 0) >= entry.revision:
            return
        if entry.key.startswith(HISTORY):
            self._history.take(entry.key, _decoded(entry, HistoryEvent), now)
            return
        self._revisions[entry.key] = entry.revision
        if entry.key.startswith(COMPUTES):
            self._take_compute(entry)
        elif entry.key.startswith(TENANTS):
            _put(self.tenants, entry.key.removeprefix(TENANTS), _decoded(entry, TenantRecord))
        elif entry.key.startswith(RETIRED):
            retired = _decoded(entry, Retired)
            self.retired[entry.key.removeprefix(RETIRED)] = retired.generation if retired else 0
        elif entry.key == NODES:
            self.nodes = _decoded(entry, NodeList) or NodeList()

    def _take_compute(self, entry: Entry) -> None:
        compute_id = entry.key.removeprefix(COMPUTES)
        record = _decoded(entry, ComputeRecord)
        _put(self.computes, compute_id, record)
        self._on_change(record, compute_id)


def _put(records: dict[str, T], key: str, record: T | None) -> None:
    if record is None:
        records.pop(key, None)
    else:
        records[key] = record


def _decoded(entry: Entry, kind: type[T]) -> T | None:
    if entry.value is None:
        return None
    try:
        return msgspec.json.decode(entry.value, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(
            f'the store\'s value of "{entry.key}" cannot be read: {error}',
            hint="Was it written by a newer version of compute_control_plane?",
        ) from error
