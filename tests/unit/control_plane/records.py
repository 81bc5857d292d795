"""Sample records of the control plane for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from control_plane.decisions import documents
from control_plane.decisions.documents import Composed
from control_plane.decisions.model import (
    ComputeRecord,
    NodeList,
    Placement,
    StorageNode,
    StorageSafekeeper,
    TenantRecord,
)

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
TIMELINE = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def node(number: int, host: str | None = None, **fields: Any) -> StorageNode:
    """Return node *number*, at port 6400 of its own host."""
    return StorageNode(
        id=number,
        listen_pg_addr=host or f"ps-{number}",
        listen_pg_port=6400,
        listen_http_addr=host or f"ps-{number}",
        listen_http_port=9898,
        **fields,
    )


def nodes(*numbers: int) -> NodeList:
    """Return a list with these nodes, and with safekeepers 1 to 5."""
    keepers = tuple(StorageSafekeeper(id=it, host=f"sk-{it}", port=5454) for it in range(1, 6))
    return NodeList(nodes=tuple(map(node, numbers)), safekeepers=keepers)


def placed(*numbers: int, stripe_size: int | None = None) -> TenantRecord:
    """Return the tenant, with one shard on each node named."""
    count = len(numbers) if stripe_size else 0
    placement = Placement(nodes=numbers, shard_count=count, stripe_size=stripe_size)
    return TenantRecord(tenant_id=TENANT, placement=placement)


def text(**spec: Any) -> bytes:
    """Return an operator's text for a compute of the tenant."""
    parts = {"cluster": {"settings": []}, "tenant_id": TENANT, "timeline_id": TIMELINE, **spec}
    return msgspec.json.encode({"spec": {k: v for k, v in parts.items() if v is not None}})


def record(raw: bytes | None = None, *, managed: bool = True, **fields: Any) -> ComputeRecord:
    """Return the record of a compute with this text, nothing published."""
    read = documents.read_operator_text(raw or text(), managed=managed)
    known = {"id": "one", "tenant_id": read.tenant_id, "timeline_id": read.timeline_id, **fields}
    return ComputeRecord(document=Raw(read.raw), **known)


def composed(
    it: ComputeRecord,
    tenant: TenantRecord | None,
    known: NodeList | None = None,
    *,
    managed: bool = True,
    **more: Any,
) -> Composed:
    """Return what is composed; it must be complete."""
    found = documents.compose(it, tenant, known or nodes(1, 2, 3, 4), managed=managed, **more)
    assert isinstance(found, Composed), found
    return found


def published(it: ComputeRecord, tenant: TenantRecord | None, **more: Any) -> dict[str, Any]:
    """Return the answer to a compute of which nothing was published before."""
    new = documents.publish(it, composed(it, tenant, **more), at=NOW)
    assert new is not None
    assert new.published is not None
    answer: dict[str, Any] = msgspec.json.decode(new.published)
    return answer
