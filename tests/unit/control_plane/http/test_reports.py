"""What a compute may say of itself, and how much of it is kept."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.decisions import fleet_views, report_limits
from tests.support.clock import FakeClock
from tests.unit.control_plane.http.public_door import COMPUTE_TOKEN, Door, public_door

LONG = "x" * 20_000


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A control plane with a compute."""
    async with public_door(tmp_path) as one:
        await one.put()
        yield one


def suspicion(**fields: Any) -> dict[str, Any]:
    """What a compute says of a server."""
    return {"source": "pageserver", "class": "dead", "endpoint": "10.0.0.1:6400", **fields}


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (b"{", 400, "not JSON"),
        (b'{"status":NaN}', 400, "not JSON"),
        (b'{"x":' + b"[" * 100_000, 400, "not JSON"),
        (b'{"status":"\\ud800"}', 400, "not JSON"),
        ([], 422, "Expected `object`"),
        ({"applied": {"generation": -1}}, 422, "$.applied.generation"),
        ({"applied": {"generation": 2**63}}, 422, "$.applied.generation"),
        ({"desired": {"generation": 10**30}}, 422, "$.desired.generation"),
        ({"suspicions": [suspicion(count=10**30)]}, 422, ".count"),
        ({"suspicions": [suspicion(shard=-1)]}, 422, ".shard"),
        ({"suspicions": [suspicion(since="2026-01-01T00:00:00")]}, 422, ".since"),
    ],
)
async def test_nonsense_is_refused(door: Door, body: Any, code: int, reason: str) -> None:
    """Nothing of it is kept: a time without a zone, say, compares with no other."""
    path = "/compute/api/v2/computes/one/report"
    found = await door.ask("POST", path, body, token=COMPUTE_TOKEN)
    assert (code, True) == (found.code, reason in found.body["error"]), found.body
    assert door.parts.registry.presence.of("one").report is None


async def test_text_that_is_no_utf_8_is_taken(door: Door) -> None:
    """Error messages of Postgres may be in any encoding."""
    path = "/compute/api/v2/computes/one/report"
    assert 200 == (await door.ask("POST", path, b'{"reason":"\xff"}', token=COMPUTE_TOKEN)).code


async def test_long_texts_are_cut(door: Door) -> None:
    """A compute neither fills the memory nor makes a look at it slow."""
    document = {"generation": 7, "hash": LONG, "proof": LONG}
    many = [
        suspicion(endpoint=f"10.0.0.1:{port}", source=LONG, text=LONG, sqlstate=LONG)
        for port in range(3)
    ] + [suspicion(endpoint=f"10.0.0.2:{port}") for port in range(1000)]
    said: dict[str, Any] = {
        "reason": LONG,
        "outcome": LONG,
        "status": LONG,
        "daemon": LONG,
        "version": LONG,
    }
    said |= {"desired": document, "applied": document, "pending_restart": [LONG] + ["a"] * 5000}
    said |= {"suspicions": many}
    path = "/compute/api/v2/computes/one/report"
    assert 200 == (await door.ask("POST", path, said, token=COMPUTE_TOKEN)).code

    heard = door.parts.registry.presence.of("one").report
    assert heard is not None
    assert "x" * report_limits.MAX_TEXT + "…" == heard.reason
    assert report_limits.MAX_SUSPICIONS == len(heard.suspicions)
    assert report_limits.MAX_SETTINGS == len(heard.pending_restart)
    assert len(repr(heard)) < 100_000
    events = door.parts.registry.presence.recent["one"]
    assert all(len(event.text) < 2 * report_limits.MAX_TEXT for event in events)


async def test_too_many(door: Door) -> None:
    """A daemon gone wild is told to wait; the others are not."""
    await door.put("two")
    clock = FakeClock()
    door.parts.api.clock = clock
    codes = [(await door.report("one", status=str(number))).code for number in range(25)]
    assert [200] * 20 + [429] * 5 == codes
    assert 200 == (await door.report("two")).code
    clock.now += 1.0
    assert [200] * 10 + [429] == [(await door.report("one")).code for _ in range(11)]


def test_not_all_rates_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of computes that were deleted would fill the memory."""
    monkeypatch.setattr(report_limits, "RATES_KEPT", 10)
    rate = report_limits.ReportRate()
    assert all(rate.allows(str(number), 0.0) for number in range(25))
    assert 5 == len(rate._buckets)


async def test_servers_that_are_made_up_are_not_all_shown(door: Door) -> None:
    """Those that most computes suspect are."""
    await door.put("two")
    await door.report("two", suspicions=[suspicion(endpoint="10.0.0.9:1")])
    made_up = [suspicion(endpoint=f"10.0.0.9:{port}") for port in range(128, 0, -1)]
    await door.report("one", suspicions=made_up)
    rows = fleet_views.nodes_view(door.parts.api.overviews.fresh()).nodes
    assert fleet_views.SHOWN_OTHERS == len([row for row in rows if row.id is None])
    assert [2] == [row.suspects for row in rows if row.endpoint == "10.0.0.9:1"]
