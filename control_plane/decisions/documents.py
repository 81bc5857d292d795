"""From an operator's text and what the storage says to the document that a compute gets. Pure.

The text is what the operator wants of a compute. Where a storage controller is configured, the
pageservers, and the safekeepers once it has named them, come from it alone; `spec.generation` is
always ours. What is composed is read by our own daemon and by Neon's: so required fields that only
the latter misses are filled in, and the legacy pageserver string says the same as the new form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from compute_common.document.document import content_hash, decode_document
from compute_common.document.spec import ComputeSpec
from compute_common.errors import SpecError
from compute_common.text import printable
from control_plane.decisions.addresses import pageserver_url, safekeeper_address
from control_plane.decisions.model import (
    ComputeRecord,
    NodeList,
    Placement,
    SafekeeperSet,
    TenantRecord,
)

MAX_SHARDS: Final = 128
"""Neon's library takes no more (``pgxn/neon/pagestore_client.h``)."""
_PAGESERVER_FIELDS: Final = (
    "pageserver_connection_info",
    "pageserver_connstring",
    "shard_stripe_size",
)
_PAGESERVER_SETTINGS: Final = frozenset({"neon.pageserver_connstring", "neon.stripe_size"})
_SAFEKEEPER_SETTINGS: Final = frozenset({"neon.safekeepers"})
_ID: Final = re.compile(r"[0-9a-f]{32}")
_HEAD: Final = b'{"status":"attached","spec":{'


class OperatorText(Struct, frozen=True, kw_only=True):
    """What an operator wants of a compute, checked."""

    raw: bytes
    """JSON with `spec` and `compute_ctl_config`; required fields are there, no generation is."""
    tenant_id: str | None
    timeline_id: str | None
    warnings: tuple[str, ...]


class Composed(Struct, frozen=True, kw_only=True):
    """What a compute is to get."""

    body: bytes
    """The whole answer, but for `spec.generation`."""
    content_sha256: str
    """As the compute will count it."""


class Incomplete(Struct, frozen=True, kw_only=True):
    """There is no document for the compute as things are."""

    reason: str


def read_operator_text(raw: bytes, *, managed: bool) -> OperatorText:
    """Check and complete what an operator has put; *managed*: a storage controller is configured.

    Raises:
        SpecError: it is no document; the path names the field.
    """
    document = decode_document(raw)
    parts = msgspec.json.decode(document.json)
    spec = parts["spec"]
    tenant_id = _identifier(document.spec, "tenant_id")
    warnings = [f"{name}: unknown field, ignored" for name in document.ignored]
    if spec.pop("generation", None) is not None:
        warnings.append("spec.generation: ignored, the control plane counts")
    if managed and tenant_id is not None:
        warnings += _overruled(spec)
    _complete(parts)
    return OperatorText(
        raw=msgspec.json.encode(parts),
        tenant_id=tenant_id,
        timeline_id=_identifier(document.spec, "timeline_id"),
        warnings=tuple(warnings),
    )


def _identifier(spec: ComputeSpec, name: str) -> str | None:
    path, value = f"spec.{name}", getattr(spec, name)
    if value is None:
        for index, option in enumerate(spec.cluster.settings or ()):
            if option.name.lower() == f"neon.{name}" and option.value:
                path, value = f"spec.cluster.settings[{index}].value", option.value
    if value is None:
        return None
    if _ID.fullmatch(value.lower()) is None:
        raise SpecError(path, f'expected 32 hex digits, got "{printable(value)}"')
    return str(value.lower())


def _overruled(spec: Mapping[str, Any]) -> list[str]:
    """Return a warning for each part of *spec* that the storage controller decides."""
    said = "ignored, the storage controller decides"
    found = [f"spec.{name}: {said}" for name in _PAGESERVER_FIELDS if spec.get(name) is not None]
    for index, option in enumerate(spec["cluster"].get("settings") or ()):
        if option["name"].lower() in _PAGESERVER_SETTINGS:
            found.append(f"spec.cluster.settings[{index}]: {said}")
    return found


def _complete(parts: dict[str, Any]) -> None:
    """Fill in what Neon's daemon requires and ours does not."""
    spec, cluster = parts["spec"], parts["spec"]["cluster"]
    for target, name, default in (
        (spec, "format_version", 1.0),
        (spec, "suspend_timeout_seconds", -1),
        (cluster, "roles", []),
        (cluster, "databases", []),
        (parts["compute_ctl_config"], "jwks", {"keys": []}),
        (parts["compute_ctl_config"].get("jwks") or {}, "keys", []),
    ):
        target.setdefault(name, default)
    for holder in (cluster, *cluster["roles"], *cluster["databases"]):
        for option in holder.get("settings" if holder is cluster else "options") or ():
            option.setdefault("vartype", "string")


def compose(
    record: ComputeRecord,
    tenant: TenantRecord | None,
    nodes: NodeList,
    *,
    managed: bool,
    keys: Sequence[Mapping[str, Any]] = (),
) -> Composed | Incomplete:
    """Return what the compute of *record* is to get.

    *keys*: the JSON Web Keys of those who may push to it, put in where it has a `push_url`.
    """
    parts = msgspec.json.decode(record.document)
    if managed and record.tenant_id is not None:
        why = _place(parts["spec"], record, tenant, nodes)
        if why:
            return Incomplete(reason=why)
    if record.push_url is not None:
        known = parts["compute_ctl_config"]["jwks"]["keys"]
        kids = {key.get("kid") for key in known}
        known.extend(key for key in keys if key.get("kid") not in kids)
    return Composed(
        body=msgspec.json.encode({"status": "attached", **parts}),
        content_sha256=content_hash(parts),
    )


def _place(
    spec: dict[str, Any], record: ComputeRecord, tenant: TenantRecord | None, nodes: NodeList
) -> str:
    """Put the servers of the storage into *spec*; return why that cannot be done, else ''."""
    if tenant is None or tenant.placement is None:
        return f'it is not known where tenant "{record.tenant_id}" is'
    why = _place_pageservers(spec, tenant.placement, nodes)
    known = tenant.safekeepers.get(record.timeline_id or "")
    if not why and known is not None and known.generation >= _own_generation(spec):
        why = _place_safekeepers(spec, known, nodes)
    return why


def _place_pageservers(spec: dict[str, Any], placement: Placement, nodes: NodeList) -> str:
    count = placement.shard_count if placement.shard_count > 1 else 0
    if len(placement.nodes) != max(count, 1):
        return f"{len(placement.nodes)} places are known for {max(count, 1)} shards"
    if count > MAX_SHARDS:
        return f"{count} shards exceed the limit of {MAX_SHARDS}"
    if count and placement.stripe_size is None:
        return f"the stripe size of {count} shards is not known"
    by_id = {node.id: node for node in nodes.nodes}
    unknown = [node for node in placement.nodes if node not in by_id]
    if unknown:
        return f"node {unknown[0]} is not in the storage controller's list"
    urls = [pageserver_url(by_id[node]) for node in placement.nodes]
    _drop(spec, _PAGESERVER_FIELDS, _PAGESERVER_SETTINGS)
    stripe_size = placement.stripe_size if count else None
    spec["pageserver_connection_info"] = {
        "shard_count": count,
        "stripe_size": stripe_size,
        "prefer_protocol": "libpq",
        "shards": {
            f"{number:02x}{count:02x}": {"pageservers": [{"id": node, "libpq_url": url}]}
            for number, (node, url) in enumerate(zip(placement.nodes, urls, strict=True))
        },
    }
    spec["pageserver_connstring"] = ",".join(urls)
    if stripe_size is not None:
        spec["shard_stripe_size"] = stripe_size
    return ""


def _own_generation(spec: Mapping[str, Any]) -> int:
    """Return the generation of the safekeepers that the operator names, -1 where there is none."""
    generation = spec.get("safekeepers_generation")
    return -1 if generation is None else int(generation)


def _place_safekeepers(spec: dict[str, Any], known: SafekeeperSet, nodes: NodeList) -> str:
    addresses: dict[str, int] = {}
    for keeper in known.safekeepers:
        address = safekeeper_address(keeper, nodes)
        if address is None:
            return f"safekeeper {keeper.id} is not in the storage controller's list"
        if address in addresses:
            return f'safekeepers {addresses[address]} and {keeper.id} are both at "{address}"'
        addresses[address] = keeper.id
    _drop(spec, (), _SAFEKEEPER_SETTINGS)
    spec["safekeeper_connstrings"] = list(addresses)
    spec["safekeepers_generation"] = known.generation
    return ""


def _drop(spec: dict[str, Any], fields: Sequence[str], settings: frozenset[str]) -> None:
    for name in fields:
        spec.pop(name, None)
    cluster = spec["cluster"]
    if cluster.get("settings"):
        cluster["settings"] = [
            option for option in cluster["settings"] if option["name"].lower() not in settings
        ]


def publish(
    record: ComputeRecord, composed: Composed, *, at: datetime, floor: int = 0
) -> ComputeRecord | None:
    """Return *record* with *composed* published, None where that changes nothing.

    *floor*: a generation that the compute has of a document that is not ours, as after the store
    was restored from a backup; 0: none. The same content is published above it, for the compute
    refuses what is older than what it has.
    """
    same = record.published is not None and record.content_sha256 == composed.content_sha256
    if same and floor < max(1, record.generation):
        return None
    generation = max(record.generation, floor) + 1
    return msgspec.structs.replace(
        record,
        generation=generation,
        body=Raw(_HEAD + b'"generation":%d,' % generation + composed.body[len(_HEAD) :]),
        content_sha256=composed.content_sha256,
        published_at=at,
    )


def etag(record: ComputeRecord) -> str:
    """Return a strong entity tag of what is published."""
    return f'"{record.generation}-{record.content_sha256[:32]}"'
