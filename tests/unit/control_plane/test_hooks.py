"""Notifications of the storage controller: read, merged, answered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute_common.errors import RequestError
from control_plane.decisions import hooks
from control_plane.decisions.model import Placement, Safekeeper, SafekeeperSet
from control_plane.decisions.safekeepers import merge
from tests.unit.control_plane.records import TENANT, TIMELINE


def shard(number: Any, node_id: Any) -> dict[str, Any]:
    """Return a shard of a notification."""
    return {"shard_number": number, "node_id": node_id}


def attach(*shards: dict[str, Any], **more: Any) -> bytes:
    """Return a ``notify-attach``."""
    body = {"tenant_id": TENANT, "preferred_az": None, "stripe_size": None, "shards": shards}
    return msgspec.json.encode({**body, **more})


def keepers(*ids: Any, **more: Any) -> bytes:
    """Return a ``notify-safekeepers``."""
    listed = [{"id": one, "hostname": None} for one in ids]
    body = {"tenant_id": TENANT, "timeline_id": TIMELINE, "generation": 3, "safekeepers": listed}
    return msgspec.json.encode({**body, **more})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (attach(shard(0, 7)), Placement(nodes=(7,))),
        (attach(shard(0, 7), tenant_id=TENANT.upper()), Placement(nodes=(7,))),
        (attach(shard(0, 7), stripe_size=8), Placement(nodes=(7,))),
        (
            attach(shard(1, 8), shard(0, 7), stripe_size=2048),
            Placement(nodes=(7, 8), shard_count=2, stripe_size=2048),
        ),
    ],
)
def test_places_are_read(body: bytes, expected: Placement) -> None:
    """In the order of the shards' numbers; one shard is an unsharded tenant."""
    assert (TENANT, expected) == hooks.decode_attach(body)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", 400, "the body is not valid JSON: line 1, column 1: the text is empty"),
        (b"[]", 400, "expected object, got array"),
        (attach(), 400, "shards: expected array of length >= 1"),
        (attach(shard(0, -1)), 400, "shards[0].node_id: expected int >= 0, got -1"),
        (attach(shard("x", 1)), 400, 'shards[0].shard_number: expected int, got str "x"'),
        (attach(shard(255, 1)), 400, "shards[0].shard_number: expected int <= 254, got 255"),
        (attach(shard(0, 1), stripe_size=0), 400, "stripe_size: expected int >= 1, got 0"),
        (attach(shard(0, 1), tenant_id="ab"), 400, 'tenant_id: expected 32 hex digits, got "ab"'),
        (attach(shard(0, 1), tenant_id=None), 400, "tenant_id: expected str, got null"),
        (attach(shard(0, 1), shard(0, 2)), 409, "shards: shard 0 appears twice"),
        (attach(shard(0, 1), shard(2, 1)), 409, "shards: shard 1 is missing, there are 2"),
        (
            attach(shard(0, 1), shard(1, 1)),
            409,
            "stripe_size: missing, but there are 2 shards",
        ),
    ],
)
def test_bad_places_are_refused(body: bytes, code: int, message: str) -> None:
    """Field, reason and value."""
    with pytest.raises(RequestError) as caught:
        hooks.decode_attach(body)
    assert (code, message) == (caught.value.code, str(caught.value))


def test_safekeepers_are_read() -> None:
    """Tenant, timeline, and the set."""
    known = SafekeeperSet(generation=3, safekeepers=(Safekeeper(id=1), Safekeeper(id=2)))
    assert (TENANT, TIMELINE, known) == hooks.decode_safekeepers(keepers(1, 2))


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (keepers(), 400, "safekeepers: expected array of length >= 1"),
        (keepers(1, generation=-1), 400, "generation: expected int >= 0, got -1"),
        (keepers(1, timeline_id="ab"), 400, 'timeline_id: expected 32 hex digits, got "ab"'),
        (keepers(1, 2, 1), 409, "safekeepers: safekeeper 1 appears twice"),
    ],
)
def test_bad_safekeepers_are_refused(body: bytes, code: int, message: str) -> None:
    """Field, reason and value."""
    with pytest.raises(RequestError) as caught:
        hooks.decode_safekeepers(body)
    assert (code, message) == (caught.value.code, str(caught.value))


@settings(deadline=None)
@given(st.binary(max_size=40) | st.recursive(st.none(), st.lists).map(msgspec.json.encode))
def test_nothing_but_a_refusal_comes_of_nonsense(body: bytes) -> None:
    """Whatever the bytes."""
    for decode in (hooks.decode_attach, hooks.decode_safekeepers):
        with pytest.raises(RequestError):
            decode(body)


def a_set(generation: int, *ids: int) -> SafekeeperSet:
    """Return a set of safekeepers."""
    return SafekeeperSet(
        generation=generation, safekeepers=tuple(Safekeeper(id=one) for one in ids)
    )


def test_safekeepers_never_go_backwards() -> None:
    """Older or equal changes nothing; equal with other members is a contradiction."""
    assert a_set(3, 1, 2) == merge(None, a_set(3, 1, 2))
    assert a_set(4, 1) == merge(a_set(3, 1, 2), a_set(4, 1))
    assert None is merge(a_set(3, 1, 2), a_set(2, 9))
    assert None is merge(a_set(3, 1, 2), a_set(3, 2, 1))
    with pytest.raises(RequestError) as caught:
        merge(a_set(3, 1, 2), a_set(3, 1, 4))
    expected = "safekeepers: generation 3 is known with safekeepers 1, 2, not 1, 4"
    assert (409, expected) == (caught.value.code, str(caught.value))


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_any_order_of_notifications_ends_equal(order: list[int]) -> None:
    """Doubled and reordered: the newest generation stays."""
    now: SafekeeperSet | None = None
    for generation in order:
        now = merge(now, a_set(generation, generation, generation + 1)) or now
    assert a_set(max(order), max(order), max(order) + 1) == now
