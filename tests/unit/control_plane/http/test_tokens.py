"""Whose token opens what."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.settings import ListenAddress
from tests.unit.control_plane.http.public_door import (
    COMPUTE_TOKEN,
    HOOK_TOKEN,
    Door,
    public_door,
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A control plane with a compute that has a token of its own, and one that has not."""
    async with public_door(tmp_path) as one:
        await one.put("own", token="token-of-own")
        await one.put("shared")
        yield one


@pytest.mark.parametrize(
    ("compute_id", "token", "code"),
    [
        ("own", None, 401),
        ("own", "token-of-own", 200),
        ("own", COMPUTE_TOKEN, 403),
        ("own", HOOK_TOKEN, 403),
        ("shared", None, 401),
        ("shared", "token-of-own", 403),
        ("shared", COMPUTE_TOKEN, 200),
        ("nobody", None, 401),
        ("nobody", "token-of-own", 403),
        ("nobody", COMPUTE_TOKEN, 404),
    ],
)
async def test_spec(door: Door, compute_id: str, token: str | None, code: int) -> None:
    """A compute's token opens its own document only; strangers do not learn which there are."""
    path = f"/compute/api/v2/computes/{compute_id}"
    assert code == (await door.ask("GET", f"{path}/spec", token=token)).code
    assert code == (await door.ask("POST", f"{path}/report", {}, token=token)).code


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", 200), ("0.0.0.0", 401)])
async def test_without_a_shared_token(tmp_path: Path, host: str, code: int) -> None:
    """Only who is on this machine needs none."""
    async with public_door(tmp_path, compute_token="", listen=ListenAddress(host, 0)) as door:
        await door.put()
        path = "/compute/api/v2/computes/one/spec"
        assert code == (await door.ask("GET", path)).code
        assert 403 == (await door.ask("GET", path, token="guess")).code or code == 200


async def test_malformed_token(door: Door) -> None:
    """A header that is no bearer token counts as none."""
    path = "/compute/api/v2/computes/shared/spec"
    found = await door.ask("GET", path, Authorization=f"Basic {COMPUTE_TOKEN}")
    assert (401, "Bearer") == (found.code, found.headers["WWW-Authenticate"])


async def test_probes_need_none(door: Door) -> None:
    """Probes and scrapers have no token."""
    for path in ("/livez", "/readyz", "/metrics"):
        assert 200 == (await door.ask("GET", path)).code, path


async def test_not_ready(door: Door) -> None:
    """It is not ready while the store does not answer."""
    door.store.failure = "disk full"
    door.locate(2)
    await door.attach(2)
    found = await door.ask("GET", "/readyz")
    assert (503, {"error": "the store does not answer: disk full"}) == (found.code, found.body)


async def test_malformed_report(door: Door) -> None:
    """A report that is none is refused, and nothing is heard."""
    path = "/compute/api/v2/computes/shared/report"
    for body, code in ((b"{", 400), ([], 422), ({"suspicions": 1}, 422)):
        assert code == (await door.ask("POST", path, body, token=COMPUTE_TOKEN)).code
    assert door.parts.registry.presence.of("shared").reported_at is None
