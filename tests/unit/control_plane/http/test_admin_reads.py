"""What operators, browsers and Prometheus read."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.decisions.model import Verdict, VerdictState
from devstack.wait import until
from tests.unit.control_plane.http.admin_door import Admin, admin_door
from tests.unit.control_plane.http.public_door import document


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    """A control plane with a storage controller that knows the tenant on node 1."""
    async with admin_door(tmp_path) as one:
        yield one


async def test_laggards_come_first_with_their_reason(admin: Admin) -> None:
    """Status, list and page say the same."""
    for name in ("a", "b", "z"):
        await admin.good("PUT", f"/v1/computes/{name}", document())
    await admin.door.runs("a")
    await admin.door.runs("b")
    await admin.door.report(
        "z",
        outcome="rejected",
        reason="no such setting",
        desired={"hash": admin.door.parts.registry.computes["z"].content_sha256},
    )

    status = await admin.good("GET", "/v1/status")
    listed = await admin.good("GET", "/v1/computes?limit=2")
    refused = await admin.good("GET", "/v1/computes?condition=refused")
    found = await admin.good("GET", "/v1/computes?q=b")
    page = await admin.good("GET", "/")

    assert (2, 1, 1) == (
        status["computes"]["in_sync"],
        status["computes"]["refused"],
        status["behind"],
    )
    assert (3, ["z", "a"]) == (listed["total"], [one["id"] for one in listed["computes"]])
    assert (1, "z") == (refused["total"], refused["computes"][0]["id"])
    assert "no such setting" in refused["computes"][0]["why"]
    assert ["b"] == [one["id"] for one in found["computes"]]
    assert "no such setting" in page
    assert "<b>1</b>refused" in page


async def test_nodes_show_who_suspects_them(admin: Admin) -> None:
    """A report's endpoint is a node of the list."""
    await admin.good("PUT", "/v1/computes/one", document())
    await admin.door.report(
        suspicions=[{"source": "pageserver", "endpoint": "127.0.0.1:6401", "class": "dead"}]
    )

    nodes = (await admin.good("GET", "/v1/nodes"))["nodes"]

    assert [1, 2, 3] == [one["id"] for one in nodes]
    assert (["one"], ["dead"], 1) == (
        nodes[0]["suspected_by"],
        nodes[0]["troubles"],
        nodes[0]["users"],
    )
    view = await admin.good("GET", "/v1/computes/one")
    assert 1 == view["report"]["suspicions"][0]["node_id"]
    assert 1 == (await admin.metrics())["suspected_servers"]


async def test_openapi_describes_every_route(admin: Admin) -> None:
    """All doors, the page too."""
    found = await admin.good("GET", "/openapi.json")

    assert {"/v1/computes/{id}", "/notify-attach", "/", "/metrics"} <= found["paths"].keys()
    operation = found["paths"]["/v1/computes/{id}"]["put"]
    assert ["socket", "admin"] == operation["x-doors"]
    assert "ChangeBody" in found["components"]["schemas"]


async def test_the_page_has_a_policy_and_its_own_404(admin: Admin) -> None:
    """HTML in each case; no cache keeps it."""
    await admin.good("PUT", "/v1/computes/one", document())
    page, other = await admin.ask("GET", "/computes/one"), await admin.ask("GET", "/computes/no")
    bad = await admin.ask("GET", "/?condition=%3Cscript%3E")

    assert (200, 404, 400) == (page.code, other.code, bad.code)
    for reply in (page, other, bad):
        assert "text/html; charset=utf-8" == reply.headers["Content-Type"]
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "no-store" == reply.headers["Cache-Control"]
    assert "<script>alert" not in bad.body


async def test_the_public_port_serves_neither_page_nor_admin_api(admin: Admin) -> None:
    """Who reaches the computes' port sees nothing of the fleet, with any token."""
    for path in ("/", "/computes/one", "/v1/status", "/v1/computes", "/openapi.json"):
        for token in (None, "token-of-hooks", "token-of-computes"):
            assert (await admin.door.ask("GET", path, token=token)).code in (401, 403), path


async def test_metrics_count_what_happens(admin: Admin) -> None:
    """Reports, publications, hooks by answer, verdict states, the fleet by condition."""
    await admin.good("PUT", "/v1/computes/one", document())
    await admin.door.runs("one")
    await admin.door.attach(1)
    await admin.door.attach(1, tenant="f" * 32)

    samples = await admin.metrics()

    assert 1 == samples["reports_total"]
    assert 1 == samples["publications_total"]
    assert 1 == samples["hooks_total,200,notify-attach"]
    assert 1 == samples["hooks_total,404,notify-attach"]
    assert 1 == samples["computes,in_sync"]
    assert (0, 0, 0) == (samples["behind"], samples["pending_hooks"], samples["computes,refused"])
    assert 1 <= samples["store_commit_seconds_count"]
    assert 3 == samples["nodes,Active"]
    assert 0 == samples["verdicts_total,acted"]
    assert 1 == samples["http_requests_total,200,socket"]


async def test_a_held_hook_is_shown(admin: Admin) -> None:
    """While a compute alive does not run with the new place, page and metrics name it."""
    await admin.good("PUT", "/v1/computes/one", document())
    await admin.door.report()  # alive, and runs with nothing
    admin.door.locate(2)
    hook = asyncio.create_task(admin.door.attach(2))
    shown = admin.door.parts.registry.pending_hooks
    await until("a hook to wait", lambda: [1 for it in shown.values() if it.waits_for])

    status = await admin.good("GET", "/v1/status")
    page = await admin.good("GET", "/")
    await admin.door.runs("one")

    assert 1 == status["pending_hooks"]
    assert 'id="hooks"' in page
    assert 200 == (await hook).code
    assert 0 == (await admin.good("GET", "/v1/status"))["pending_hooks"]


async def test_the_page_may_be_a_second_old(admin: Admin) -> None:
    """A compute deleted meanwhile is on it, and does no harm."""
    await admin.good("PUT", "/v1/computes/one", document())
    assert "one" in await admin.good("GET", "/")
    await admin.good("DELETE", "/v1/computes/one")
    await admin.good("PUT", "/v1/computes/two", document())

    await admin.good("GET", "/")
    await admin.good("GET", "/metrics")
    await admin.ask("GET", "/computes/one")

    assert 1 == (await admin.good("GET", "/v1/status"))["computes"]["silent"]


async def test_a_verdict_is_counted_once_and_none_from_before_the_start(admin: Admin) -> None:
    """A restart must not look like new verdicts: it would alert. The clock may be set back."""
    now, registry = datetime.now(UTC), admin.door.parts.registry
    for at in (now, now - timedelta(hours=1)):
        await registry.load()
        verdict = Verdict(
            node_id=1, at=at, suspected_by=("one",), users=1, probes=(), state=VerdictState.ACTED
        )
        await registry.events.record("verdict", "down", node_id=1, verdict=verdict)

    first = (await admin.metrics())["verdicts_total,acted"]
    again = (await admin.metrics())["verdicts_total,acted"]

    assert (1, 1) == (first, again)
    assert 2 == len((await admin.good("GET", "/v1/verdicts"))["verdicts"])
