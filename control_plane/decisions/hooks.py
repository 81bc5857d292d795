"""The storage controller's notifications, and the truthful answer to one. Pure.

A notification has no sequence number and may come late, twice or out of order: it is a hint. The
format is that of Neon's ``storage_controller/src/compute_hook.rs``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from compute_common.document.json_text import malformed
from compute_common.document.spec_errors import refusal
from compute_common.errors import RequestError, SpecError
from compute_common.text import printable
from control_plane.decisions.fleet import Laggard, laggards
from control_plane.decisions.model import (
    ComputeRecord,
    Generation,
    Heard,
    NodeId,
    Placement,
    Safekeeper,
    SafekeeperSet,
)

APPLIED: Final = 200
STORED: Final = 423
"""Stored, but somebody alive does not run with it yet: the caller asks again."""
_ID: Final = re.compile(r"[0-9a-f]{32}")


class _Shard(Struct, frozen=True):
    node_id: NodeId
    shard_number: Annotated[int, Meta(ge=0, le=254)]


class _Attach(Struct, frozen=True):
    tenant_id: str
    shards: Annotated[tuple[_Shard, ...], Meta(min_length=1, max_length=255)]
    stripe_size: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class _Safekeepers(Struct, frozen=True):
    tenant_id: str
    timeline_id: str
    generation: Generation
    safekeepers: Annotated[tuple[Safekeeper, ...], Meta(min_length=1, max_length=255)]


_Body = TypeVar("_Body", _Attach, _Safekeepers)


class HookAnswer(Struct, frozen=True, kw_only=True):
    """What a notification is answered."""

    code: int
    """`APPLIED` or `STORED`."""
    laggards: tuple[Laggard, ...] = ()

    @property
    def final(self) -> bool:
        """Whether to answer at once: waiting longer would not change the answer."""
        return self.code == APPLIED or any(one.final for one in self.laggards)


def decode_attach(body: bytes) -> tuple[str, Placement]:
    """Return tenant and placement of a ``notify-attach``.

    Raises:
        RequestError: 400 it is malformed; 409 it contradicts itself.
    """
    said = _decode(body, _Attach)
    places: dict[int, int] = {}
    for shard in said.shards:
        if shard.shard_number in places:
            raise RequestError(409, f"shards: shard {shard.shard_number} appears twice")
        places[shard.shard_number] = shard.node_id
    count = len(places)
    gap = next((number for number in range(count) if number not in places), None)
    if gap is not None:
        raise RequestError(409, f"shards: shard {gap} is missing, there are {count}")
    if count > 1 and said.stripe_size is None:
        raise RequestError(409, f"stripe_size: missing, but there are {count} shards")
    placement = Placement(
        nodes=tuple(places[number] for number in range(count)),
        shard_count=count if count > 1 else 0,
        stripe_size=said.stripe_size if count > 1 else None,
    )
    return _identifier(said.tenant_id, "tenant_id"), placement


def decode_safekeepers(body: bytes) -> tuple[str, str, SafekeeperSet]:
    """Return tenant, timeline and safekeepers of a ``notify-safekeepers``.

    Raises:
        RequestError: 400 it is malformed; 409 it contradicts itself.
    """
    said = _decode(body, _Safekeepers)
    ids = [keeper.id for keeper in said.safekeepers]
    twice = next((one for index, one in enumerate(ids) if one in ids[:index]), None)
    if twice is not None:
        raise RequestError(409, f"safekeepers: safekeeper {twice} appears twice")
    return (
        _identifier(said.tenant_id, "tenant_id"),
        _identifier(said.timeline_id, "timeline_id"),
        SafekeeperSet(generation=said.generation, safekeepers=said.safekeepers),
    )


def _decode(body: bytes, model: type[_Body]) -> _Body:
    try:
        parts = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec.DecodeError or UnicodeDecodeError
        raise RequestError(400, f"the body is not valid JSON: {malformed(body, error)}") from error
    try:
        return msgspec.convert(parts, model)
    except msgspec.ValidationError as error:
        found = refusal(error, parts, model)
        raise RequestError(400, _with_value(str(found), _value(parts, found))) from error


def _with_value(message: str, value: str) -> str:
    """Return *message* with the *value* that was refused; its type may stand there already."""
    if not value:
        return message
    if ", got " in message:
        return message if value == "null" else f"{message} {value}"
    return f"{message}, got {value}"


def _value(parts: object, refused: SpecError) -> str:
    """Return what stands at the path of *refused*, if that is short, else ''."""
    found: Any = parts
    for name, index in re.findall(r"([^.\[\]]+)|\[([0-9]+)\]", refused.path):
        try:
            found = found[int(index)] if index else found[name]
        except (KeyError, IndexError, TypeError):
            return ""
    if isinstance(found, dict | list):
        return ""
    return printable(msgspec.json.encode(found).decode())


def _identifier(text: str, name: str) -> str:
    if _ID.fullmatch(text.lower()) is None:
        raise RequestError(400, f'{name}: expected 32 hex digits, got "{printable(text)}"')
    return text.lower()


def answer(
    computes: Sequence[tuple[ComputeRecord, Heard]],
    *,
    now: float,
    blind_until: float,
    incomplete: Mapping[str, str] | None = None,
) -> HookAnswer:
    """Return what may truthfully be answered to the notification for a tenant with *computes*.

    *now* and *blind_until* are monotonic seconds. Until the latter, a compute of which nothing was
    heard since our own start may be alive. *incomplete*: by compute, why what is published to it
    is not what the storage says now.
    """
    found = laggards(computes, now=now, blind_until=blind_until, incomplete=incomplete)
    return HookAnswer(code=STORED if found else APPLIED, laggards=found)
