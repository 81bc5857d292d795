"""The status of a node, as a client reads it: a public contract, so each byte of it is here."""

import json
from datetime import UTC, datetime
from typing import Any

from compute_common.document.versions import Version
from compute_common.http.bodies import encode
from compute_ctl.decisions.model import (
    Attempt,
    CatalogKind,
    CatalogRun,
    Desired,
    Outcome,
    ReportStatus,
    RequestOrigin,
    Suspicion,
)
from compute_ctl.decisions.persistent_state import GenerationRef, PersistentState, Quarantined
from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.decisions.sql_report import PendingRestart
from compute_ctl.node import Node
from tests.support.clock import FakeClock
from tests.support.fakes import AbsentPostgres, IdlePostgres

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHOWN_AT = "2026-01-02T03:04:05Z"
EMPTY: dict[str, Any] = {
    "start_time": SHOWN_AT,
    "tenant": None,
    "timeline": None,
    "status": "empty",
    "last_active": None,
    "error": None,
    "config": {
        "in_sync": False,
        "proof": "none",
        "not_in_force": None,
        "not_kept": None,
        "desired": None,
        "applied": None,
        "started": None,
        "proven_in_full": None,
        "last_known_good": None,
        "quarantined": [],
        "candidates": [],
        "warnings": [],
        "document_file": None,
    },
    "refresh": {
        "pending": False,
        "suspected_since": None,
        "suspicion": None,
        "last_attempt": None,
        "next_attempt_at": None,
        "requests_total": 0,
    },
    "postgres": {
        "pid": None,
        "version": None,
        "ready": False,
        "since": None,
        "silent_since": None,
        "silent_because": None,
        "login_ms": None,
        "library_loaded": None,
        "pending_restart": [],
        "drift": [],
        "catalog_error": None,
        "last_catalog": None,
        "drift_since": None,
        "lease": None,
    },
    "status_since": SHOWN_AT,
    "error_since": None,
    "closed_ports": [],
    "report": {
        "accepted_at": None,
        "desired_sha256": None,
        "applied_sha256": None,
        "error": None,
    },
    "cluster": None,
    "promotion": None,
    "sidecars": [],
}
"""A node to which nothing has happened."""
RAN: dict[str, Any] = {"started_at": AT, "finished_at": AT, "duration_ms": 1.23456}
RAN_SHOWN = {"started_at": SHOWN_AT, "finished_at": SHOWN_AT, "duration_ms": 1.235}


def make_node(postgres: AbsentPostgres | None = None) -> Node:
    """Return a node whose clock stands still."""
    clock = FakeClock(wall=lambda: AT)
    return Node(clock=clock, postgres=postgres or AbsentPostgres(), server_version=None)


def shown(node: Node) -> dict[str, Any]:
    """The status as a client reads it."""
    body: dict[str, Any] = json.loads(encode(node.snapshot()))
    return body


def test_an_empty_node() -> None:
    """Every key is there, in this order, before anything has happened; what is unknown is null."""
    expected = json.dumps(EMPTY, separators=(",", ":")) + "\n"
    assert expected == encode(make_node().snapshot()).decode()


def test_last_active_is_spelled_as_the_reference_does() -> None:
    """`last_active` ends in +00:00, all other times in Z."""
    node = make_node()
    node.server.active(AT)
    assert "2026-01-02T03:04:05+00:00" == shown(node)["last_active"]


def test_generations() -> None:
    """Desired, applied and last known good carry generation, hash, version and time."""
    ref = GenerationRef(generation=7, marker="7.nonce.hash", content_sha256="ab" * 32, at=AT)
    refused = Quarantined(content_sha256="ef" * 32, reason="password=x is bad", at=AT)
    node = make_node()
    node.config.desired = Desired(
        content_sha256="cd" * 32, version=Version(generation=9), at=AT, source="file", generation=8
    )
    node.config.state = PersistentState(
        applied=ref, started=ref, last_known_good=ref, proven_rests=(ref,), quarantine=(refused,)
    )
    fact: dict[str, Any] = {"sha256": "ab" * 32, "version": None, "at": SHOWN_AT}
    applied = {"generation": 7, **fact}
    expected = EMPTY["config"] | {
        "desired": {
            "generation": 8,
            "sha256": "cd" * 32,
            "version": "9",
            "at": SHOWN_AT,
            "source": "file",
        },
        "applied": applied,
        "started": applied,
        "proven_in_full": applied,
        "last_known_good": applied,
        "quarantined": [
            fact
            | {"sha256": "ef" * 32, "reason": "password=******** is bad", "operation_uuid": None}
        ],
    }
    assert expected == shown(node)["config"]


def test_refresh() -> None:
    """Suspicion and last attempt are told in full, without credentials."""
    text, outcome = "host=a password='p w' failed", Outcome.FETCH_FAILED
    suspicion = Suspicion(source="primary", trouble="dead", sqlstate="08006", text=text, count=4)
    node = make_node()
    node.request_refresh(who="test", source=RequestOrigin.WORKER, suspicion=suspicion)
    node.attempt_ended(
        Attempt(number=3, who="worker", outcome=outcome, reason="Bearer abc.def refused", **RAN),
        served=0,
        good=True,
    )
    node.attempts.plan(FakeClock.now)
    expected = {
        "pending": True,
        "suspected_since": SHOWN_AT,
        "suspicion": {
            "source": "primary",
            "shard": None,
            "class": "dead",
            "sqlstate": "08006",
            "text": "host=a password=******** failed",
            "count": 4,
        },
        "last_attempt": RAN_SHOWN
        | {
            "id": 3,
            "outcome": "fetch_failed",
            "reason": "Bearer ******** refused",
            "generation": None,
            "who": "worker",
        },
        "next_attempt_at": SHOWN_AT,
        "requests_total": 1,
    }
    assert expected == shown(node)["refresh"]


def test_postgres() -> None:
    """What waits for a restart and what is overridden is told with file and line."""
    place: dict[str, Any] = {"file": "/d/compute_ctl.conf", "line": 3}
    waits = PendingRestart(name="a", old="host=a password=x", new="host=b password=y", **place)
    drift = Complaint(name="work_mem", reason="overridden", **place)
    node = make_node(IdlePostgres())
    node.looked(Verdict(proof=Proof.NONE, shadowed=(drift,), pending_restart=(waits,)))
    node.server.silent(FakeClock.now, "no, password=x is wrong")
    node.server.probed(login_ms=1234.56, library_loaded=False)
    hidden = {"old": "host=a password=********", "new": "host=b password=********"}
    expected = EMPTY["postgres"] | {
        "pid": IdlePostgres.pid,
        "ready": True,
        "silent_since": SHOWN_AT,
        "silent_because": "no, password=******** is wrong",
        "login_ms": 1234.6,
        "library_loaded": False,
        "pending_restart": [{"name": "a", **hidden, **place}],
        "drift": [{"name": "work_mem", "reason": "overridden", **place}],
        "drift_since": SHOWN_AT,
        "lease": None,
    }
    assert expected == shown(node)["postgres"]


def test_catalog() -> None:
    """The last work on roles and databases, and why they are not as wanted."""
    reason, outcome = "could not create role: password=x", "failed"
    node = make_node()
    node.server.catalog_fails(reason)
    node.catalog_ran(
        CatalogRun(kind=CatalogKind.CATALOG, outcome=outcome, reason=reason, statements=2, **RAN)
    )
    expected = RAN_SHOWN | {
        "kind": "catalog",
        "outcome": "failed",
        "reason": "could not create role: password=********",
        "statements": 2,
        "timeouts": 0,
        "failed_migration": None,
    }
    postgres = shown(node)["postgres"]
    assert "could not create role: password=********" == postgres["catalog_error"]
    assert expected == postgres["last_catalog"]


def test_secrets() -> None:
    """What a source or a server says in its error may hold a password."""
    node = make_node()
    node.attempts.show_error("no: password=x")
    node.reported(ReportStatus(error="password=x"))
    assert "no: password=********" == shown(node)["error"]
    assert "password=********" == shown(node)["report"]["error"]
