"""Protocols for what the control plane needs from outside; `app` provides the adapters."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from control_plane.decisions.model import Placement, StorageNode, StorageSafekeeper


class Clock(Protocol):
    """The clock, so that tests and the simulation can replace it."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary time, which never decrease."""

    def wall(self) -> datetime:
        """The current time, timezone UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A key and its value."""

    key: str
    value: bytes | None
    """None, in a `Commit`: the key was deleted."""
    revision: int
    """Of the commit that wrote it last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """One change of a commit."""

    key: str
    value: bytes | None
    """None deletes it."""
    expected: int | None = None
    """The revision that the key must have, 0: it must not exist; None: whatever it has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """Changes that were made together."""

    revision: int
    entries: tuple[Entry, ...]


class Store(Protocol):
    """A small ordered key-value store with compare-and-swap, a watch and leases.

    Revisions count up from 1 with each commit; keys are text without NUL, values at most 1 MiB
    each where the store is etcd.
    """

    async def load(self, prefix: str = "") -> tuple[int, list[Entry]]:
        """Return the current revision and the entries whose keys begin with *prefix*, in key order.

        Raises:
            StoreError: it cannot be reached or read.
        """

    async def commit(self, writes: Sequence[Write]) -> int:
        """Make all *writes* or none; return the new revision. What was returned is durable.

        Raises:
            ConflictError: a key does not have the expected revision; nothing was written.
            StoreError: nothing was written, or (etcd, connection lost) it is not known.
        """

    def watch(self, after: int) -> AsyncGenerator[Commit, None]:
        """Yield each commit after revision *after*, in order, without gaps, until closed.

        Raises:
            CompactedError: commits after *after* are no longer known: load anew.
            StoreError: it cannot be reached.
        """

    async def hold_lease(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Take the lease *name*, or renew it; return whether *holder* has it for *ttl_s* now.

        Raises:
            StoreError: it cannot be reached.
        """

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Give up the lease if *holder* has it. Raises StoreError."""

    async def close(self) -> None:
        """Release what it holds; nothing that was answered is lost without it either."""


class StorageController(Protocol):
    """The storage controller's API, as far as it is needed. All calls are bounded."""

    async def nodes(self) -> tuple[StorageNode, ...]:
        """Return all nodes. Raises ControllerError."""

    async def safekeepers(self) -> tuple[StorageSafekeeper, ...]:
        """Return all safekeepers, () where it manages none. Raises ControllerError."""

    async def locate(self, tenant_id: str) -> Placement | None:
        """Return the intended place of a tenant, None where it is unknown there.

        Raises:
            ControllerError: no usable answer.
        """

    async def set_offline(self, node_id: int) -> None:
        """Say that a node is offline; returns after its shards are rescheduled.

        Raises:
            BusyError: 412, a background operation runs.
            ControllerError: no usable answer, or another refusal.
        """

    async def close(self) -> None:
        """Close its connections."""


class Prober(Protocol):
    """Looks whether a pageserver lives."""

    async def probe(self, node: StorageNode) -> str:
        """Try its libpq port and its HTTP port; bounded by 300 ms.

        Return '' if one of them answered, else what both met.
        """


class Pusher(Protocol):
    """Tells a daemon that does not poll: Neon's own."""

    async def push(self, url: str, document: bytes, *, compute_id: str) -> None:
        """POST the document to ``url/configure``. Raises PushError, with status and reason."""
