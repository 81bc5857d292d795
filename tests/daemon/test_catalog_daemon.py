"""Catalog work in the whole daemon: it never holds up a heal, and a push waits for it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from devstack.compute import Compute
from devstack.postgres import Template
from devstack.wait import wait_until


@pytest.fixture
def compute(template: Template) -> Iterator[Compute]:
    """A server and a daemon that is not started yet."""
    with Compute(template, name="catalog") as made:
        yield made


def document(
    *roles: str, work_mem: str = "5MB", databases: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A document that wants these roles and databases (with owners)."""
    cluster = {
        "roles": [{"name": name} for name in roles],
        "databases": [{"name": name, "owner": owner} for name, owner in (databases or {}).items()],
        "settings": [{"name": "work_mem", "value": work_mem}],
    }
    return {"spec": {"cluster": cluster, **spec}, "compute_ctl_config": {"jwks": {"keys": []}}}


def has_role(compute: Compute, name: str) -> bool:
    """Whether the role is there."""
    return bool(compute.postgres.query("SELECT 1 FROM pg_roles WHERE rolname = %s", name))


@contextmanager
def blocked(compute: Compute) -> Iterator[None]:
    """Make every CREATE ROLE wait."""
    with compute.postgres.connect(autocommit=False) as session:
        session.execute("LOCK TABLE pg_auth_members IN ACCESS EXCLUSIVE MODE")
        yield


def waits(compute: Compute) -> bool:
    """Whether catalog work waits for a lock."""
    found: bool = compute.postgres.value(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND application_name = 'compute_ctl:apply_config'"
    )
    return found


def configure(compute: Compute, target: dict[str, Any], answers: list[Any]) -> threading.Thread:
    """Push *target* in a thread; its answer goes to *answers*."""
    thread = threading.Thread(
        target=lambda: answers.append(compute.daemon.call("POST", "/configure", target))
    )
    thread.start()
    return thread


def test_refresh_does_not_wait(compute: Compute) -> None:
    """A refresh ends when Postgres runs the settings; roles come when they can."""
    compute.publish_document(json.dumps(document()))
    daemon = compute.start_daemon()
    compute.publish_document(json.dumps(document("slow", work_mem="6MB")))
    with blocked(compute):
        assert "applied" == daemon.refresh()
        assert ("6144", "running") == (compute.setting("work_mem"), daemon.status()["status"])
        wait_until("the role to be tried", lambda: waits(compute))
        assert not has_role(compute, "slow")
    wait_until("the role", lambda: has_role(compute, "slow"))


def test_push_waits_for_its_roles(compute: Compute) -> None:
    """A push is answered when settings and roles are there; its status says configuration."""
    compute.publish_document(json.dumps(document()))
    daemon = compute.start_daemon()
    answers: list[Any] = []
    with blocked(compute):
        thread = configure(compute, document("pushed", work_mem="7MB"), answers)
        wait_until("the role to be tried", lambda: waits(compute))
        assert ("configuration", []) == (daemon.status()["status"], answers)
    thread.join(20)
    ((code, body),) = answers
    assert (200, "running", True) == (code, body["status"], has_role(compute, "pushed"))


def test_push_whose_catalog_fails(compute: Compute) -> None:
    """The caller hears why, the settings stay, and what was in the way may go later."""
    compute.publish_document(json.dumps(document()))
    daemon = compute.start_daemon()
    target = document(work_mem="8MB", databases={"orphan": "nobody_there"})
    code, body = daemon.call("POST", "/configure", target)
    found = daemon.status()
    assert (500, True) == (code, "nobody_there" in body["error"])
    assert ("failed", "8192") == (found["status"], compute.setting("work_mem"))
    assert "nobody_there" in found["postgres"]["catalog_error"]
    assert 1 == daemon.metric("compute_ctl_catalog_failing")

    compute.postgres.query("CREATE ROLE nobody_there")
    code, body = daemon.call("POST", "/configure", target)
    assert (200, None) == (code, body["postgres"]["catalog_error"])
    assert "running" == body["status"]


def test_heal_goes_before_the_roles_of_a_push(compute: Compute) -> None:
    """While the roles of a push hang, a refresh is served at once, and both end well."""
    compute.publish_document(json.dumps(document(generation=1)))
    daemon = compute.start_daemon()
    answers: list[Any] = []
    with blocked(compute):
        thread = configure(compute, document("patient", generation=2), answers)
        wait_until("the role to be tried", lambda: waits(compute))
        compute.publish_document(json.dumps(document("patient", work_mem="9MB", generation=3)))
        assert "applied" == daemon.refresh()
        assert ("9216", []) == (compute.setting("work_mem"), answers)
    thread.join(20)
    assert (200, True) == (answers[0][0], has_role(compute, "patient"))


def test_deltas_do_not_run_again(compute: Compute) -> None:
    """Neither a refresh nor a restart of the daemon repeats a delta operation."""
    deltas = [{"action": "delete_role", "name": "comes_back"}]
    target = document("stays", delta_operations=deltas, operation_uuid="op-1")
    compute.postgres.query("CREATE ROLE comes_back")
    compute.publish_document(json.dumps(target))
    daemon = compute.start_daemon()
    wait_until("the role to go", lambda: not has_role(compute, "comes_back"))
    wait_until("the work to be remembered", lambda: "catalog work: done" in daemon.log_text())
    compute.postgres.query("CREATE ROLE comes_back")
    assert "unchanged" == daemon.refresh()
    daemon.stop()
    daemon.start()
    compute.wait_in_sync()
    pushed = document("stays", "new", delta_operations=deltas, operation_uuid="op-1")
    code, _ = daemon.call("POST", "/configure", pushed)
    assert (200, True, True) == (code, has_role(compute, "new"), has_role(compute, "comes_back"))


def test_activity_is_shown(compute: Compute) -> None:
    """The status says when a client was last active, also after a failed push."""
    compute.publish_document(json.dumps(document()))
    daemon = compute.start_daemon()
    daemon.call("POST", "/configure", document(databases={"orphan": "nobody_there"}))
    before = daemon.status()["last_active"] or ""
    with compute.postgres.connect(autocommit=False) as session:
        session.execute("SELECT 1")
        daemon.wait_status("activity", lambda found: (found["last_active"] or "") > before)
    assert 0 == daemon.metric("compute_pg_current_downtime_ms")


def test_document_that_differs_in_roles_alone(compute: Compute) -> None:
    """It needs no new file, and is in force as any other; its roles are made."""
    compute.publish_document(json.dumps(document()))
    daemon = compute.start_daemon()
    compute.publish_document(json.dumps(document("alone")))
    assert "applied" == daemon.refresh()
    config = daemon.status()["config"]
    assert (True, config["desired"]["sha256"]) == (config["in_sync"], config["applied"]["sha256"])
    assert 1 == config["applied"]["generation"]
    wait_until("the role", lambda: has_role(compute, "alone"))


def test_what_was_done_is_in_status_and_history(compute: Compute) -> None:
    """Work on the catalog has a time, a duration and an outcome; what it made is counted."""
    compute.publish_document(json.dumps(document("recorded")))
    daemon = compute.start_daemon()

    def last() -> Any:
        return daemon.status()["postgres"]["last_catalog"]

    wait_until("the migrations", lambda: last() and last()["kind"] == "migrations")
    assert ("done", 12, "") == tuple(last()[key] for key in ("outcome", "statements", "reason"))
    lines = (compute.postgres.data / "compute_ctl/history.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    runs = [one for one in entries if one.get("kind")]
    assert [("catalog", "done"), ("migrations", "done")] == [
        (one["kind"], one["outcome"]) for one in runs
    ]
    assert all(one["duration_ms"] > 0 and one["started_at"] for one in runs)
    databases = compute.postgres.value("SELECT count(*) FROM pg_database WHERE datallowconn")
    wait_until("the count", lambda: daemon.metric("compute_installed_extensions") >= databases)
