"""The daemon tells a control plane that asks for it what became of each document."""

from collections.abc import Callable
from typing import Any

from devstack.compute import Compute
from devstack.wait import wait_until
from tests.support.queries import running_queries

ROWS = 1000


def wait_report(
    compute: Compute, what: str, says: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Wait until *says* is true of the last report; return it."""

    def last() -> dict[str, Any] | None:
        view = compute.control_plane.real.admin("GET", f"/v1/computes/{compute.compute_id}").body
        report: dict[str, Any] | None = view["report"]
        return report if report and says(report) else None

    found = wait_until(what, last)
    assert found is not None
    return found


def generation(report: dict[str, Any], which: str) -> int | None:
    """Return the document's own number in a report."""
    return (report[which] or {}).get("generation")


def test_accepted_refused_and_suspected(pulling: Compute) -> None:
    """Each reaches the control plane, and the status says what it took."""
    a, b = pulling.pageserver("a"), pulling.pageserver("b")
    scan = pulling.fill(ROWS)
    pulling.publish(a)
    daemon = pulling.start_daemon()

    accepted = wait_report(pulling, "acceptance", lambda it: generation(it, "applied") == 1)
    assert ("running", []) == (accepted["status"], accepted["suspicions"])
    assert accepted["desired"]["hash"] == accepted["applied"]["hash"]

    pulling.publish(a, settings={"work_mem": "banana"})
    assert "rejected" == daemon.refresh()
    refused = wait_report(pulling, "the refusal", lambda it: it["outcome"] == "rejected")
    assert (2, 1) == (generation(refused, "desired"), generation(refused, "applied"))
    assert 'work_mem: invalid value: "banana"' in refused["reason"]

    a.kill()
    with running_queries(pulling.postgres.connect) as start:
        query = start(scan)
        suspected = wait_report(pulling, "the suspicion", lambda it: bool(it["suspicions"]))
        (one,) = suspected["suspicions"]
        assert ("pageserver", 0, "dead") == (one["source"], one["shard"], one["class"])
        assert a.url.endswith(f"@{one['endpoint']}")
        pulling.publish(b)
        assert ROWS == query.value()

    healed = wait_report(
        pulling, "the heal", lambda it: generation(it, "applied") == 3 and not it["suspicions"]
    )
    wait_until(
        "the status to say so",
        lambda: daemon.status()["report"]["applied_sha256"] == healed["applied"]["hash"],
    )


def test_only_who_asks_gets_reports(pulling: Compute) -> None:
    """A control plane that does not ask gets none; one that refuses one gets another later."""
    pulling.faults.strike("no_reports")
    pulling.publish(pulling.pageserver("a"))
    daemon = pulling.start_daemon()
    assert "unchanged" == daemon.refresh()
    assert 'rpc="Report"' not in daemon.call("GET", "/metrics")[1]
    assert daemon.status()["report"]["accepted_at"] is None

    pulling.faults.answer(code=500, route="report", count=1)
    pulling.faults.clear("no_reports")
    assert "unchanged" == daemon.refresh()

    wait_report(pulling, "a report after the refusal", lambda it: generation(it, "applied") == 1)
    wait_until("it to be over", lambda: daemon.status()["report"]["accepted_at"])
    assert daemon.status()["report"]["error"] is None
    samples = daemon.call("GET", "/metrics")[1].splitlines()
    counted = [line for line in samples if 'rpc="Report"' in line]
    for status in ("200 OK", "500 Internal Server Error"):
        assert any(status in line for line in counted), counted
