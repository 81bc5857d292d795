"""Hooks that are none, and callers who may not tell any."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control_plane.http.public_door import (
    COMPUTE_TOKEN,
    HOOK_TOKEN,
    TENANT,
    Door,
    public_door,
    safekeepers,
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A control plane with one compute."""
    async with public_door(tmp_path) as one:
        await one.put()
        yield one


BAD = [
    ("/notify-attach", b"{", 400, "not valid JSON"),
    ("/notify-attach", {}, 400, "tenant_id"),
    ("/notify-attach", {"tenant_id": TENANT, "shards": []}, 400, "shards"),
    ("/notify-attach", {"tenant_id": "x", "shards": [{"node_id": 1, "shard_number": 0}]}, 400, "x"),
    (
        "/notify-attach",
        {"tenant_id": TENANT, "shards": [{"node_id": -1, "shard_number": 0}]},
        400,
        "node_id",
    ),
    (
        "/notify-attach",
        {"tenant_id": TENANT, "shards": [{"node_id": 1, "shard_number": 1}]},
        409,
        "shard 0 is missing",
    ),
    ("/notify-safekeepers", safekeepers(-1, 1), 400, "generation"),
    ("/notify-safekeepers", safekeepers(1), 400, "safekeepers"),
    ("/notify-safekeepers", safekeepers(1, 2, 2), 409, "safekeeper 2 appears twice"),
    ("/notify-safekeepers", safekeepers(1, 2, timeline_id="0" * 32), 404, "no compute"),
]


@pytest.mark.parametrize(("path", "body", "code", "reason"), BAD)
async def test_malformed(door: Door, path: str, body: Any, code: int, reason: str) -> None:
    """Refused by name, value and reason; nothing is changed."""
    revision = door.store.revision
    found = await door.ask("PUT", path, body, token=HOOK_TOKEN)
    assert (code, True) == (found.code, reason in found.body["error"]), found.body
    assert revision == door.store.revision


async def test_token(door: Door) -> None:
    """Hooks are for the storage controller alone."""
    assert 401 == (await door.ask("PUT", "/notify-attach", {})).code
    found = await door.ask("PUT", "/notify-attach", {}, token=COMPUTE_TOKEN)
    assert (403, {"error": "this token does not open this"}) == (found.code, found.body)
