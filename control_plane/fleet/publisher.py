"""Decides what is to be published to a compute, and the writes that publish it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Raw
from msgspec.structs import replace

from compute_common.errors import SpecError
from control_plane.decisions import documents
from control_plane.decisions.differences import difference
from control_plane.decisions.model import ComputeRecord, NodeList, TenantRecord
from control_plane.fleet.mirror import COMPUTES, RETIRED, Mirror, Retired
from control_plane.ports import Clock, Write

COMPUTE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NEW_DOCUMENT: Final = b'{"spec":{"cluster":{}}}'
"""The text of a compute that has none yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What an operator gives along with a document; None leaves what is known, '' removes it."""

    push_url: str | None = None
    """Base URL of a daemon that must be told by `POST /configure`."""
    token: str | None = field(default=None, repr=False)
    """Opens this compute's document only."""


NOTHING_GIVEN: Final = Given()


@dataclass(kw_only=True, slots=True)
class PutResult:
    """What a change of a compute did, or (dry run) would do."""

    record: ComputeRecord
    changed: bool
    differences: list[str]
    """Of what is published; one line each."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Completeness:
    """Whether there is a document, and what that was decided from."""

    record: ComputeRecord
    tenant: TenantRecord | None
    nodes: NodeList
    reason: str

    def holds(self, record: ComputeRecord, tenant: TenantRecord | None, nodes: NodeList) -> bool:
        """Whether it was decided from these very objects."""
        return self.record is record and self.tenant is tenant and self.nodes is nodes


class Publisher:
    """Composes documents from the operator's text and what the storage says."""

    def __init__(
        self,
        *,
        mirror: Mirror,
        clock: Clock,
        managed: bool,
        keys: Sequence[Mapping[str, Any]],
    ) -> None:
        """*keys*: JSON Web Keys of those who may push to a daemon that does not poll."""
        self._mirror = mirror
        self._clock = clock
        self._managed = managed
        self._keys = keys
        self._incomplete: dict[str, _Completeness] = {}
        """By compute; true while what it was decided from is the same."""

    def put(
        self,
        old: ComputeRecord | None,
        compute_id: str,
        document: bytes,
        given: Given,
    ) -> PutResult:
        """Return what a new text of the operator makes of a compute; *old*: None for a new one.

        Raises:
            SpecError: the id or the text cannot be used.
        """
        if COMPUTE_ID.fullmatch(compute_id) is None:
            raise SpecError(
                "id", f'invalid compute ID "{compute_id[:64]}"', hint="Use letters, digits, . _ -"
            )
        text = documents.read_operator_text(document, managed=self._managed)
        known = old or ComputeRecord(id=compute_id, document=Raw(text.raw))
        record = replace(
            known,
            document=Raw(text.raw),
            push_url=known.push_url if given.push_url is None else given.push_url or None,
            token_sha256=known.token_sha256 if given.token is None else _digest(given.token),
            tenant_id=text.tenant_id,
            timeline_id=text.timeline_id,
        )
        tenant = self._mirror.tenants.get(record.tenant_id or "")
        record = self._published(record, tenant, self._mirror.nodes) or record
        return PutResult(
            record=record,
            changed=record != old,
            differences=difference(_body(old), _body(record)),
            warnings=text.warnings,
        )

    def removal(self, record: ComputeRecord) -> list[Write]:
        """Return the writes that forget a compute, but not which generations it has used."""
        generation = max(record.generation, self._mirror.retired.get(record.id, 0))
        return [
            self._mirror.write(COMPUTES + record.id, None),
            self._mirror.write(RETIRED + record.id, Retired(generation=generation)),
        ]

    def writes(
        self,
        record: ComputeRecord,
        nodes: NodeList,
        *,
        tenant: TenantRecord | None = None,
        floor: int = 0,
    ) -> list[Write]:
        """Return the write that publishes what is new for *record*, if anything is.

        *tenant*: where its storage is now; None: where it was.
        """
        tenant = tenant or self._mirror.tenants.get(record.tenant_id or "")
        new = self._published(record, tenant, nodes, floor=floor)
        return [] if new is None else [self._mirror.write(COMPUTES + record.id, new)]

    def incomplete(self, record: ComputeRecord) -> str:
        """Return why there is no document for what the storage says now; '' if there is."""
        tenant, nodes = self._mirror.tenants.get(record.tenant_id or ""), self._mirror.nodes
        known = self._incomplete.get(record.id)
        if known is None or not known.holds(record, tenant, nodes):
            composed = self._compose(record, tenant, nodes)
            reason = composed.reason if isinstance(composed, documents.Incomplete) else ""
            known = _Completeness(record, tenant, nodes, reason)
            self._incomplete[record.id] = known
        return known.reason

    def _published(
        self,
        record: ComputeRecord,
        tenant: TenantRecord | None,
        nodes: NodeList,
        *,
        floor: int = 0,
    ) -> ComputeRecord | None:
        """Return *record* with what is new; None for nothing new, or nothing complete."""
        composed = self._compose(record, tenant, nodes)
        if isinstance(composed, documents.Incomplete):
            return None
        floor = max(floor, self._mirror.retired.get(record.id, 0))
        return documents.publish(record, composed, at=self._clock.wall(), floor=floor)

    def _compose(
        self, record: ComputeRecord, tenant: TenantRecord | None, nodes: NodeList
    ) -> documents.Composed | documents.Incomplete:
        return documents.compose(record, tenant, nodes, managed=self._managed, keys=self._keys)


def addresses(nodes: NodeList) -> tuple[frozenset[tuple[int, str, int]], frozenset[object]]:
    """Return where computes reach each pageserver and safekeeper."""
    pageservers = ((one.id, one.listen_pg_addr, one.listen_pg_port) for one in nodes.nodes)
    return frozenset(pageservers), frozenset(nodes.safekeepers)


def _digest(token: str) -> str | None:
    return hashlib.sha256(token.encode()).hexdigest() if token else None


def _body(record: ComputeRecord | None) -> bytes | None:
    return bytes(record.published) if record is not None and record.published else None
