"""Answers of a storage controller: what they mean, and that nonsense is named."""

from typing import Any

import msgspec
import pytest

from control_plane.controller.answers import decode_nodes, decode_placement, decode_safekeepers
from control_plane.decisions.model import Placement, StorageNode, StorageSafekeeper
from control_plane.errors import ControllerError

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
NODE = {
    "id": 3,
    "availability": "Active",
    "scheduling": "Active",
    "availability_zone_id": "az-1",
    "listen_http_addr": "ps-3",
    "listen_http_port": 9898,
    "listen_https_port": None,
    "listen_pg_addr": "ps-3",
    "listen_pg_port": 6400,
    "listen_grpc_addr": None,
}


def encode(value: Any) -> bytes:
    """Return JSON."""
    return msgspec.json.encode(value)


def located(*shards: tuple[str, int], count: Any = 0, stripe_size: Any = 2048) -> bytes:
    """Return an answer to locate."""
    return encode(
        {
            "shards": [
                {"shard_id": shard_id, "node_id": node_id, "listen_pg_addr": "x"}
                for shard_id, node_id in shards
            ],
            "shard_params": {"count": count, "stripe_size": stripe_size},
        }
    )


def test_nodes() -> None:
    """Fields that are not needed are ignored."""
    expected = StorageNode(
        id=3,
        availability="Active",
        scheduling="Active",
        availability_zone_id="az-1",
        listen_http_addr="ps-3",
        listen_http_port=9898,
        listen_pg_addr="ps-3",
        listen_pg_port=6400,
    )
    assert (expected,) == decode_nodes(encode([NODE]))
    assert () == decode_nodes(b"[]")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "$[0]"),
        (b'[{"listen_pg_addr": "\xff"}]', "not valid JSON"),
        (b"null", "Expected `array`, got `null`"),
        (encode([NODE, {**NODE, "id": "4"}]), "$[1].id"),
        (encode([{**NODE, "id": -1}]), "$[0].id"),
        (encode([{**NODE, "listen_pg_port": None}]), "$[0].listen_pg_port"),
        (encode([{**NODE, "listen_pg_port": 0}]), "$[0].listen_pg_port is 0"),
        (encode([{**NODE, "listen_http_port": 65536}]), "$[0].listen_http_port is 65536"),
        (encode([{**NODE, "listen_pg_addr": "a b"}]), "$[0].listen_pg_addr is 'a b', not a host"),
        (encode([{**NODE, "listen_pg_addr": "a,b"}]), "$[0].listen_pg_addr is 'a,b', not a host"),
        (encode([{**NODE, "listen_pg_addr": "a\0"}]), "$[0].listen_pg_addr"),
        (encode([{**NODE, "listen_pg_addr": "x" * 999}]), "$[0].listen_pg_addr"),
        (encode([{**NODE, "listen_pg_addr": "::g"}]), "$[0].listen_pg_addr"),
        (encode([{**NODE, "listen_http_addr": ""}]), "$[0].listen_http_addr is ''"),
        (encode([{"id": 3}]), "missing required field `listen_pg_addr`"),
        (encode([NODE, NODE]), "$[1].id is 3, which another node has"),
    ],
)
def test_nodes_that_are_nonsense(body: bytes, said: str) -> None:
    """The field is named; no list is returned in part."""
    with pytest.raises(ControllerError) as caught:
        decode_nodes(body)
    assert said in str(caught.value)


def test_safekeepers() -> None:
    """Host and libpq port are taken."""
    found = {"id": 1, "region_id": "r", "host": "sk-1", "port": 5454, "http_port": 7676}
    assert (StorageSafekeeper(id=1, host="sk-1", port=5454),) == decode_safekeepers(encode([found]))
    for change, said in (({"port": 0}, "$[0].port is 0"), ({"host": ""}, "$[0].host is ''")):
        with pytest.raises(ControllerError) as caught:
            decode_safekeepers(encode([found | change]))
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (located((TENANT, 7)), Placement(nodes=(7,))),
        (
            located((f"{TENANT}-0001", 7), count=1, stripe_size=8),
            Placement(nodes=(7,), shard_count=1, stripe_size=8),
        ),
        (
            located((f"{TENANT}-0102", 9), (f"{TENANT}-0002", 8), count=2),
            Placement(nodes=(8, 9), shard_count=2, stripe_size=2048),
        ),
        (
            located(*((f"{TENANT}-{number:02x}10", number) for number in range(16)), count=16),
            Placement(nodes=tuple(range(16)), shard_count=16, stripe_size=2048),
        ),
    ],
)
def test_placements(body: bytes, expected: Placement) -> None:
    """Shards in any order, numbers and counts in hexadecimal."""
    assert expected == decode_placement(body, TENANT)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "missing required field `shards`"),
        (located(), "$.shards"),
        (located((TENANT, 7), count="1"), "$.shard_params.count"),
        (located((TENANT, 7), stripe_size=0), "$.shard_params.stripe_size"),
        (located((TENANT, 7), count=1), f'$.shards[0].shard_id is "{TENANT}"'),
        (located((f"{TENANT}-0001", 7)), f'$.shards[0].shard_id is "{TENANT}-0001"'),
        (located((TENANT, 7), (TENANT, 8)), "$.shards[1].shard_id"),
        (located(("ff" * 16, 7)), "$.shards[0].shard_id"),
        (located((f"{'ff' * 16}-0001", 7), count=1), "$.shards[0].shard_id"),
        (located((f"{TENANT}-0002", 7), count=2), "$.shards has 1 shards"),
        (located((f"{TENANT}-0202", 7), count=2), "$.shards[0].shard_id"),
        (located((f"{TENANT}-0003", 7), count=2), "$.shards[0].shard_id"),
        (
            located((f"{TENANT}-0002", 7), (f"{TENANT}-0002", 8), count=2),
            "$.shards[1].shard_id is",
        ),
        (located((TENANT, "seven")), "$.shards[0].node_id"),  # type: ignore[arg-type] # nonsense
    ],
)
def test_placements_that_are_nonsense(body: bytes, said: str) -> None:
    """The field is named; a gap, a shard twice or of another tenant is none."""
    with pytest.raises(ControllerError) as caught:
        decode_placement(body, TENANT)
    assert said in str(caught.value)
