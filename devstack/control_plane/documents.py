"""A compute's document: its version tag, and what a move of its pageservers does to it. Pure."""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
STATUSES = ("attached", "empty")


class ConflictError(Exception):
    """The notification does not fit what is known; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """The storage controller's news: which node serves each shard of a tenant.

    `nodes[i]` is the node id of shard i; `stripe_size` (blocks) is None for an unsharded tenant.
    """

    tenant_id: str
    nodes: tuple[int, ...]
    stripe_size: int | None


def etag(document: Document) -> str:
    """A strong entity tag: equal only for equal documents."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(canonical.encode()).hexdigest()[:32]}"'


def check_document(document: Document) -> Document:
    """Return the document if a compute could get it as an answer. Raises ValueError."""
    status = document.get("status")
    if status not in STATUSES:
        raise ValueError(f'status must be attached or empty, not "{status}"')
    spec = document.get("spec")
    if status == "attached" and not isinstance(spec, dict):
        raise ValueError("an attached document needs a spec object")
    document.setdefault("spec", None)
    document.setdefault("compute_ctl_config", {"jwks": {"keys": []}})
    return document


def emptied(document: Document) -> Document:
    """The document of the same compute after it was detached."""
    return {**document, "status": "empty", "spec": None}


def generation(document: Document) -> int | None:
    """`spec.generation`, or None where the document has none."""
    number = (document.get("spec") or {}).get("generation")
    return number if isinstance(number, int) else None


def older(document: Document) -> Document:
    """The same document one generation earlier; unchanged where it is not versioned."""
    number = generation(document)
    if number is None:
        return document
    result = copy.deepcopy(document)
    result["spec"]["generation"] = number - 1
    return result


def parse_attachment(body: Mapping[str, Any]) -> Attachment:
    """Read a notify-attach body. Raises ValueError for its shape, ConflictError for its shards."""
    tenant, stripe, shards = body.get("tenant_id"), body.get("stripe_size"), body.get("shards")
    if not isinstance(tenant, str) or not isinstance(shards, list):
        raise ValueError("tenant_id and shards are required")  # noqa: TRY004 - a 400
    if stripe is not None and (not isinstance(stripe, int) or stripe < 1):
        raise ValueError(f'invalid stripe_size "{stripe}"')
    try:
        nodes = {int(shard["shard_number"]): int(shard["node_id"]) for shard in shards}
    except (KeyError, TypeError) as error:
        raise ValueError("a shard needs shard_number and node_id") from error
    if not shards or sorted(nodes) != list(range(len(shards))):
        raise ConflictError("the shards are not numbered from 0 on, each once")
    if len(nodes) > 1 and stripe is None:
        raise ConflictError("several shards need a stripe_size")
    ordered = tuple(node for _, node in sorted(nodes.items()))
    return Attachment(tenant_id=tenant, nodes=ordered, stripe_size=stripe)


def connection_info(attachment: Attachment, urls: Mapping[int, str]) -> dict[str, Any]:
    """`pageserver_connection_info` for the attachment. Raises ConflictError for unknown nodes."""
    if unknown := set(attachment.nodes) - set(urls):
        raise ConflictError(f"unknown node {min(unknown)}")
    count = 0 if attachment.stripe_size is None else len(attachment.nodes)
    return {
        "shard_count": count,
        "stripe_size": attachment.stripe_size,
        "prefer_protocol": "libpq",
        "shards": {
            f"{number:02x}{count:02x}": {"pageservers": [{"id": node, "libpq_url": urls[node]}]}
            for number, node in enumerate(attachment.nodes)
        },
    }


def attach(document: Document, info: dict[str, Any]) -> Document:
    """The document with the new pageservers and the next generation; the same if nothing moved."""
    spec = document["spec"]
    if spec.get("pageserver_connection_info") == info:
        return document
    legacy = ("pageserver_connstring", "shard_stripe_size")
    moved = {key: value for key, value in spec.items() if key not in legacy}
    moved["pageserver_connection_info"] = info
    moved["generation"] = (generation(document) or 0) + 1
    return {**document, "spec": moved}
