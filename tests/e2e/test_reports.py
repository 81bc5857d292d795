"""The daemon tells a control plane that asks for it what became of each document."""

from collections.abc import Callable
from typing import Any

import pytest

from devstack.client import ControlPlaneAdmin
from devstack.compute import COMPUTE_ID, Compute
from devstack.wait import wait_until
from tests.e2e.conftest import ComputeFactory
from tests.support.queries import running_queries

ROWS = 1000


@pytest.fixture
def compute(make_compute: ComputeFactory) -> Compute:
    """A compute that pulls its documents."""
    return make_compute(source="control_plane")


def admin_of(compute: Compute) -> ControlPlaneAdmin:
    """Return the admin API of its control plane."""
    assert compute.control_plane is not None
    return compute.control_plane.admin


def wait_report(
    compute: Compute, what: str, says: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Wait until the newest report is one of which *says* is true; return it."""
    admin = admin_of(compute)

    def newest() -> dict[str, Any] | None:
        reports = admin.reports(COMPUTE_ID)
        return reports[-1] if reports and says(reports[-1]) else None

    found = wait_until(what, newest)
    assert found is not None
    return found


def generation(report: dict[str, Any], which: str) -> int | None:
    """Return the document's own number in a report."""
    return (report[which] or {}).get("generation")


def test_accepted_refused_and_suspected(compute: Compute) -> None:
    """Each reaches the control plane, and the status says what it took."""
    admin_of(compute).set_wants_reports(True)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    scan = compute.fill(ROWS)
    compute.publish(a, generation=1)
    daemon = compute.start_daemon()

    accepted = wait_report(compute, "acceptance", lambda it: generation(it, "applied") == 1)
    assert ("running", []) == (accepted["status"], accepted["suspicions"])
    assert accepted["desired"]["hash"] == accepted["applied"]["hash"]

    compute.publish(a, generation=2, settings={"work_mem": "banana"})
    assert "rejected" == daemon.refresh()
    refused = wait_report(compute, "the refusal", lambda it: it["outcome"] == "rejected")
    assert (2, 1) == (generation(refused, "desired"), generation(refused, "applied"))
    assert 'work_mem: invalid value: "banana"' in refused["reason"]

    a.kill()
    with running_queries(compute.postgres.connect) as start:
        query = start(scan)
        suspected = wait_report(compute, "the suspicion", lambda it: bool(it["suspicions"]))
        (one,) = suspected["suspicions"]
        assert ("pageserver", 0, "dead") == (one["source"], one["shard"], one["class"])
        assert a.url.endswith(f"@{one['endpoint']}")
        compute.publish(b, generation=3)
        assert ROWS == query.value()

    healed = wait_report(
        compute, "the heal", lambda it: generation(it, "applied") == 3 and not it["suspicions"]
    )
    wait_until(
        "the status to say so",
        lambda: daemon.status()["report"]["applied_sha256"] == healed["applied"]["hash"],
    )


def test_only_who_asks_gets_reports(compute: Compute) -> None:
    """A control plane that does not ask gets none; one that refuses one gets another later."""
    compute.publish(compute.pageserver("a"), generation=1)
    daemon = compute.start_daemon()
    admin = admin_of(compute)
    assert "unchanged" == daemon.refresh()
    assert 'rpc="Report"' not in daemon.call("GET", "/metrics")[1]
    assert daemon.status()["report"]["accepted_at"] is None

    admin.set_fault("status", route="report", code=500, count=1)
    admin.set_wants_reports(True)
    assert "unchanged" == daemon.refresh()

    wait_report(compute, "a report after the refusal", lambda it: generation(it, "applied") == 1)
    wait_until("it to be over", lambda: daemon.status()["report"]["accepted_at"])
    assert daemon.status()["report"]["error"] is None
    samples = daemon.call("GET", "/metrics")[1].splitlines()
    counted = [line for line in samples if 'rpc="Report"' in line]
    for status in ("200 OK", "500 Internal Server Error"):
        assert any(status in line for line in counted), counted
