"""What is published to each compute, and what each has said: the only writer of documents.

Every change is a compare-and-swap in the store that raises `spec.generation` of the documents that
it changes. What computes say is kept in memory only: they repeat it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from compute_common.document.edit import with_setting
from control_plane.decisions.floor import ahead
from control_plane.decisions.model import (
    ALIVE_S,
    ComputeRecord,
    HistoryEvent,
    NodeList,
    PendingHook,
    Placement,
    PlacementSource,
    SafekeeperSet,
    TenantRecord,
    Verdict,
)
from control_plane.decisions.safekeepers import merge
from control_plane.fleet.events import Events
from control_plane.fleet.mirror import COMPUTES, NODES, TENANTS, Mirror
from control_plane.fleet.presence import Presence
from control_plane.fleet.publisher import (
    NEW_DOCUMENT,
    NOTHING_GIVEN,
    Given,
    Publisher,
    PutResult,
    addresses,
)
from control_plane.fleet.tenant_index import TenantIndex
from control_plane.fleet.waiters import Waiters
from control_plane.ports import Clock, Store, Write


class Registry:
    """All computes, tenants and nodes; use it in one event loop."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        managed: bool,
        keys: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """*managed*: a storage controller says where tenants are; *keys*: see `Publisher`."""
        self._clock = clock
        self.mirror = Mirror(store=store, clock=clock, on_change=self._changed)
        self._publisher = Publisher(mirror=self.mirror, clock=clock, managed=managed, keys=keys)
        self._tenant_index = TenantIndex()
        self._waiters = Waiters()
        self.presence = Presence(clock=clock, tenants=self._tenant_index)
        """What was heard of the computes."""
        self.on_published: list[Callable[[str], None]] = []
        """Called with the id of each compute whose document changed."""
        self.computes: Mapping[str, ComputeRecord] = self.mirror.computes
        self.tenants: Mapping[str, TenantRecord] = self.mirror.tenants
        self.history: Sequence[HistoryEvent] = self.mirror.history
        self.verdicts: Sequence[Verdict] = self.mirror.verdicts
        self.events = Events(self.mirror)
        self.pending_hooks: dict[int, PendingHook] = {}
        self.started_at = self.loaded_at = clock.monotonic()
        self._loading = False

    async def load(self) -> None:
        """Read the store, before anybody else runs. Raises StoreError."""
        self._loading = True  # no request waits for a change yet
        await self.mirror.load()
        self._loading, self.loaded_at = False, self._clock.monotonic()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        await self.mirror.run()

    @property
    def nodes(self) -> NodeList:
        """The storage controller's nodes, as last read."""
        return self.mirror.nodes

    @property
    def store_failure(self) -> str:
        """Why the store did not answer last; '' where it did."""
        return self.mirror.failure

    def computes_of(self, tenant_id: str) -> list[ComputeRecord]:
        """Return the computes of a tenant."""
        return [self.computes[one] for one in self._tenant_index.computes_of(tenant_id)]

    async def put(
        self,
        compute_id: str,
        document: bytes,
        *,
        given: Given = NOTHING_GIVEN,
        dry_run: bool = False,
    ) -> PutResult:
        """Take the operator's text of a compute, and publish it.

        Where its tenant's place is not known, it is published later: ask the reconciler.

        Raises:
            SpecError: the id or the document cannot be used.
            StoreError: nothing was changed.
        """
        return await self._edit(compute_id, lambda _: document, given, dry_run=dry_run)

    async def set_settings(
        self,
        compute_id: str,
        values: Mapping[str, str | None],
        *,
        given: Given = NOTHING_GIVEN,
        dry_run: bool = False,
    ) -> PutResult:
        """Set settings in the document of a compute, made if need be; None removes one.

        Raises:
            SpecError: the document cannot be used with it.
            StoreError: nothing was changed.
        """

        def edited(document: bytes) -> bytes:
            for name, value in values.items():
                document = with_setting(document, name, value)
            return document

        return await self._edit(compute_id, edited, given, dry_run=dry_run)

    async def delete(self, compute_id: str) -> bool:
        """Forget a compute; return whether there was one. Raises StoreError."""
        known = compute_id in self.computes

        def decide() -> list[Write]:
            if (record := self.computes.get(compute_id)) is None:
                return []
            event = self.mirror.event("deleted", "compute deleted", compute_id=compute_id)
            return [*self._publisher.removal(record), event]

        await self.mirror.change(decide)
        return known

    async def place(
        self, tenant_id: str, placement: Placement, source: PlacementSource
    ) -> tuple[str, ...]:
        """Publish where a tenant is; return the computes whose documents changed.

        Raises:
            StoreError: nothing was changed.
        """

        def moved(old: TenantRecord) -> TenantRecord:
            return replace(old, placement=placement, placement_source=source)

        text = f"now on {', '.join(map(str, placement.nodes))} ({source})"
        return await self._change_tenant(tenant_id, moved, "moved", text)

    async def place_safekeepers(
        self, tenant_id: str, timeline_id: str, new: SafekeeperSet
    ) -> tuple[str, ...]:
        """Publish the safekeepers of a timeline; return the computes whose documents changed.

        Raises:
            RequestError: 409, it contradicts what is known of the same generation.
            StoreError: nothing was changed.
        """

        def moved(tenant: TenantRecord) -> TenantRecord:
            merged = merge(tenant.safekeepers.get(timeline_id), new)
            if merged is None:
                return tenant
            return replace(tenant, safekeepers={**tenant.safekeepers, timeline_id: merged})

        ids = ", ".join(str(one.id) for one in new.safekeepers)
        text = f"timeline {timeline_id}: generation {new.generation}, now {ids}"
        return await self._change_tenant(tenant_id, moved, "safekeepers", text)

    async def set_nodes(self, listed: NodeList) -> None:
        """Take the node list, and publish the addresses that changed. Raises StoreError."""

        def decide() -> list[Write]:
            if listed == self.nodes:
                return []
            writes = [self.mirror.write(NODES, listed)]
            if addresses(listed) != addresses(self.nodes):
                for record in self.computes.values():
                    writes += self._publisher.writes(record, listed)
            return writes

        await self.mirror.change(decide)

    async def republish(self, compute_ids: Collection[str]) -> None:
        """Publish above the generations that these computes report, where they are ahead of ours.

        They are after the store was restored from a backup. Raises StoreError.
        """

        def decide() -> list[Write]:
            writes: list[Write] = []
            for compute_id in compute_ids:
                record = self.computes.get(compute_id)
                if record and (floor := ahead(record, self.presence.of(compute_id).report)):
                    writes += self._publisher.writes(record, self.nodes, floor=floor)
            return writes

        await self.mirror.change(decide)

    def incomplete(self, compute_id: str) -> str:
        """Return why what is published to a compute is not what the storage says; '' if it is."""
        record = self.computes.get(compute_id)
        return self._publisher.incomplete(record) if record else ""

    @property
    def blind_until(self) -> float:
        """Monotonic seconds until which computes may be alive that were not heard of yet."""
        return self.started_at + ALIVE_S

    async def changed(self, compute_id: str, *, generation: int, within_s: float) -> None:
        """Wait until what is published is not *generation* any more, but no longer than that."""
        if (record := self.computes.get(compute_id)) and record.generation == generation:
            await self._waiters.wait(compute_id, within_s=within_s)

    async def _edit(
        self,
        compute_id: str,
        edit: Callable[[bytes], bytes],
        given: Given,
        *,
        dry_run: bool,
    ) -> PutResult:
        """Put what *edit* makes of the operator's text."""
        result: PutResult | None = None

        def decide() -> list[Write]:
            nonlocal result
            old = self.computes.get(compute_id)
            document = edit(bytes(old.document) if old else NEW_DOCUMENT)
            result = self._publisher.put(old, compute_id, document, given)
            if not result.changed or dry_run:
                return []
            known = result.record.published is not None
            said = f"generation {result.record.generation}" if known else "not published yet"
            event = self.mirror.event("document", said, compute_id=compute_id)
            return [self.mirror.write(COMPUTES + compute_id, result.record), event]

        await self.mirror.change(decide)
        assert result is not None  # noqa: S101 -- narrows the type: `decide` has run
        return result

    async def _change_tenant(
        self,
        tenant_id: str,
        moved: Callable[[TenantRecord], TenantRecord],
        kind: str,
        text: str,
    ) -> tuple[str, ...]:
        """Write the tenant's record and the documents that follow from it."""
        changed: tuple[str, ...] = ()

        def decide() -> list[Write]:
            nonlocal changed
            changed = ()
            known = self.tenants.get(tenant_id)  # perhaps without a compute for a moment only
            old = known or TenantRecord(tenant_id=tenant_id)
            new = moved(old)
            if new == old or not (known or self.computes_of(tenant_id)):
                return []
            writes: list[Write] = []
            for record in self.computes_of(tenant_id):
                writes += self._publisher.writes(record, self.nodes, tenant=new)
            changed = tuple(one.key.removeprefix(COMPUTES) for one in writes)
            event = self.mirror.event(kind, text, tenant_id=tenant_id)
            return [self.mirror.write(TENANTS + tenant_id, new), *writes, event]

        await self.mirror.change(decide, scope=tenant_id)
        return changed

    def _changed(self, record: ComputeRecord | None, compute_id: str) -> None:
        """Follow a change of the store."""
        tenant_id = record.tenant_id if record is not None else None
        old = self._tenant_index.put(compute_id, tenant_id)
        if self._loading:
            return
        if record is None:
            self.presence.forget(compute_id)
        for tenant in {old, tenant_id}:
            if tenant is not None:
                self.presence.wake(tenant)
        self._waiters.wake(compute_id)
        for observer in self.on_published:
            observer(compute_id)
