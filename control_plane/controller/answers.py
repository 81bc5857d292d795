"""What the storage controller's answers say. Pure.

Sources: reference/neon_stack.md; fields that are not needed are ignored, those that are needed
must be right: a document made of nonsense would cut a compute off.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from compute_common.text import printable
from control_plane.decisions.addresses import is_host
from control_plane.decisions.model import NodeId, Placement, StorageNode, StorageSafekeeper
from control_plane.errors import ControllerError

T = TypeVar("T")

_SHARD_SUFFIX: Final = re.compile(r"-([0-9a-f]{2})([0-9a-f]{2})")
"""Number and count."""


class _LocatedShard(Struct, frozen=True):
    shard_id: str
    node_id: NodeId


class _LocatedParameters(Struct, frozen=True):
    count: Annotated[int, Meta(ge=0, le=255)]
    stripe_size: Annotated[int, Meta(ge=1, le=2**32 - 1)]


class _Located(Struct, frozen=True):
    shards: Annotated[tuple[_LocatedShard, ...], Meta(min_length=1, max_length=255)]
    shard_params: _LocatedParameters


def decode_nodes(body: bytes) -> tuple[StorageNode, ...]:
    """Read the answer to ``GET /control/v1/node``. Raises ControllerError."""
    nodes = _decode(body, tuple[StorageNode, ...])
    seen: set[int] = set()
    for place, node in enumerate(nodes):
        for name in ("pg", "http"):
            address, port = (
                getattr(node, f"listen_{name}_addr"),
                getattr(node, f"listen_{name}_port"),
            )
            if not is_host(address):
                raise _nonsense(
                    f"$[{place}].listen_{name}_addr is '{printable(address)}', not a host"
                )
            if not 1 <= port <= 65535:
                raise _nonsense(f"$[{place}].listen_{name}_port is {port}, not a port")
        if node.id in seen:
            raise _nonsense(f"$[{place}].id is {node.id}, which another node has")
        seen.add(node.id)
    return nodes


def decode_safekeepers(body: bytes) -> tuple[StorageSafekeeper, ...]:
    """Read the answer to ``GET /control/v1/safekeeper``. Raises ControllerError."""
    safekeepers = _decode(body, tuple[StorageSafekeeper, ...])
    for place, safekeeper in enumerate(safekeepers):
        if not is_host(safekeeper.host):
            raise _nonsense(f"$[{place}].host is '{printable(safekeeper.host)}', not a host")
        if not 1 <= safekeeper.port <= 65535:
            raise _nonsense(f"$[{place}].port is {safekeeper.port}, not a port")
    return safekeepers


def decode_placement(body: bytes, tenant_id: str) -> Placement:
    """Read the answer to ``GET /debug/v1/tenant/TENANT/locate``. Raises ControllerError."""
    located = _decode(body, _Located)
    count = located.shard_params.count
    nodes: dict[int, int] = {}
    for place, shard in enumerate(located.shards):
        number = _shard_number(shard.shard_id, tenant_id, count)
        if number is None or number in nodes:
            raise _nonsense(
                f'$.shards[{place}].shard_id is "{shard.shard_id}", '
                + ("which another shard has" if number in nodes else f"of {count} shards")
            )
        nodes[number] = shard.node_id
    if len(nodes) != max(count, 1):
        raise _nonsense(f"$.shards has {len(nodes)} shards, $.shard_params.count is {count}")
    return Placement(
        nodes=tuple(nodes[number] for number in range(len(nodes))),
        shard_count=count,
        stripe_size=located.shard_params.stripe_size if count else None,
    )


def _shard_number(shard_id: str, tenant_id: str, count: int) -> int | None:
    """Return the number of a shard of this tenant, None where it cannot be one."""
    if count == 0:
        return 0 if shard_id == tenant_id else None
    found = _SHARD_SUFFIX.fullmatch(shard_id.removeprefix(tenant_id))
    if found is None or not shard_id.startswith(tenant_id):
        return None
    number, of = int(found[1], 16), int(found[2], 16)
    return number if of == count and number < count else None


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _nonsense(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _nonsense(f"not valid JSON: {error}") from error


def _nonsense(reason: str) -> ControllerError:
    return ControllerError(f"the storage controller's answer cannot be used: {reason}")
