"""The bodies of the HTTP API, from a snapshot alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from compute_common.document.versions import Version
from compute_common.http.bodies import encode, error_body
from compute_ctl.decisions.model import (
    Attempt,
    CatalogKind,
    CatalogRun,
    Desired,
    Outcome,
    Suspicion,
    Ticket,
)
from compute_ctl.decisions.persistent_state import GenerationRef, Quarantined
from compute_ctl.decisions.proof import Complaint, PendingRestart, Proof
from compute_ctl.decisions.snapshot import Snapshot
from compute_ctl.decisions.transitions import Status
from compute_ctl.http.views import outcome_body, refresh_body, status_body
from tests.unit.snapshots import NOTHING

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHOWN_AT = "2026-01-02T03:04:05Z"


def shown(snapshot: Snapshot) -> dict[str, object]:
    """The status as a client reads it."""
    body: dict[str, object] = json.loads(encode(status_body(snapshot)))
    return body


def test_an_empty_node() -> None:
    """Every key is there before anything has happened; what is unknown is null."""
    assert shown(NOTHING) == {
        "start_time": "2026-01-01T00:00:00Z",
        "tenant": None,
        "timeline": None,
        "status": "empty",
        "last_active": None,
        "error": None,
        "config": {
            "in_sync": False,
            "proof": "none",
            "not_in_force": None,
            "desired": None,
            "applied": None,
            "started": None,
            "proven_in_full": None,
            "last_known_good": None,
            "quarantined": [],
            "warnings": [],
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
        },
        "status_since": None,
        "error_since": None,
        "closed_ports": [],
        "report": {
            "accepted_at": None,
            "desired_sha256": None,
            "applied_sha256": None,
            "error": None,
        },
    }


def test_last_active_is_spelled_as_the_reference_does() -> None:
    """`last_active` ends in +00:00, all other times in Z."""
    assert shown(replace(NOTHING, last_active=AT))["last_active"] == "2026-01-02T03:04:05+00:00"


def test_three_facts() -> None:
    """Desired, applied and last known good carry generation, hash, version and time."""
    fact = GenerationRef(generation=7, marker="7.nonce.hash", content_sha256="ab" * 32, at=AT)
    desired = Desired(
        content_sha256="cd" * 32, version=Version(generation=9), at=AT, source="file", generation=8
    )
    refused = Quarantined(content_sha256="ef" * 32, reason="password=x is bad", at=AT)
    body = shown(
        replace(
            NOTHING,
            desired=desired,
            applied=fact,
            started=fact,
            proven_in_full=fact,
            last_known_good=fact,
            quarantined=(refused,),
        )
    )
    applied = {"generation": 7, "sha256": "ab" * 32, "version": None, "at": SHOWN_AT}
    assert body["config"] == {
        "in_sync": False,
        "proof": "none",
        "not_in_force": None,
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
        "warnings": [],
        "quarantined": [
            {
                "sha256": "ef" * 32,
                "reason": "password=******** is bad",
                "at": SHOWN_AT,
                "version": None,
                "operation_uuid": None,
            }
        ],
    }


def test_refresh() -> None:
    """Suspicion and last attempt are told in full, without credentials."""
    attempt = Attempt(
        number=3,
        who="worker",
        started_at=AT,
        finished_at=AT,
        duration_ms=1.23456,
        outcome=Outcome.FETCH_FAILED,
        reason="Bearer abc.def refused",
        generation=None,
    )
    suspicion = Suspicion(
        source="primary",
        trouble="dead",
        sqlstate="08006",
        text="host=a password='p w' failed",
        count=4,
    )
    body = shown(
        replace(
            NOTHING,
            pending=True,
            suspected_since=AT,
            suspicion=suspicion,
            last_attempt=attempt,
            next_attempt_at=AT,
            requests_total=5,
        )
    )
    assert body["refresh"] == {
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
        "last_attempt": {
            "id": 3,
            "started_at": SHOWN_AT,
            "finished_at": SHOWN_AT,
            "duration_ms": 1.235,
            "outcome": "fetch_failed",
            "reason": "Bearer ******** refused",
            "generation": None,
            "who": "worker",
        },
        "next_attempt_at": SHOWN_AT,
        "requests_total": 5,
    }


def test_postgres() -> None:
    """What waits for a restart and what is overridden is told with file and line."""
    waits = PendingRestart(
        name="primary_conninfo",
        old="host=a password=x",
        new="host=b password=y",
        file="/d/compute_ctl.conf",
        line=3,
    )
    drift = Complaint(name="work_mem", reason="overridden", file="/d/postgresql.auto.conf", line=2)
    body = shown(
        replace(
            NOTHING,
            postgres_pid=9,
            postgres_version="15",
            postgres_ready=True,
            postgres_since=AT,
            postgres_silent_since=AT,
            postgres_silent_because="no, password=x is wrong",
            login_ms=1234.56,
            library_loaded=False,
            pending_restart=(waits,),
            drift=(drift,),
            drift_since=AT,
            catalog_error="could not create role: password=x",
            last_catalog=CatalogRun(
                kind=CatalogKind.CATALOG,
                started_at=AT,
                finished_at=AT,
                duration_ms=1.23456,
                outcome="failed",
                reason="could not create role: password=x",
                statements=2,
            ),
        )
    )
    assert body["postgres"] == {
        "pid": 9,
        "version": "15",
        "ready": True,
        "since": SHOWN_AT,
        "silent_since": SHOWN_AT,
        "silent_because": "no, password=******** is wrong",
        "login_ms": 1234.6,
        "library_loaded": False,
        "pending_restart": [
            {
                "name": "primary_conninfo",
                "old": "host=a password=********",
                "new": "host=b password=********",
                "file": "/d/compute_ctl.conf",
                "line": 3,
            }
        ],
        "drift": [
            {
                "name": "work_mem",
                "reason": "overridden",
                "file": "/d/postgresql.auto.conf",
                "line": 2,
            }
        ],
        "catalog_error": "could not create role: password=********",
        "last_catalog": {
            "kind": "catalog",
            "started_at": SHOWN_AT,
            "finished_at": SHOWN_AT,
            "duration_ms": 1.235,
            "outcome": "failed",
            "reason": "could not create role: password=********",
            "statements": 2,
            "timeouts": 0,
            "failed_migration": None,
        },
        "drift_since": SHOWN_AT,
    }


def test_receipt_is_one_short_line() -> None:
    """The answer to a refresh fits on a line that Postgres's client can print."""
    ticket = Ticket(refresh_id=1, coalesced=False)
    expected = b'{"status":"running","refresh_id":1,"coalesced":false}\n'
    assert encode(refresh_body(Status.RUNNING, ticket)) == expected


def test_receipt_with_outcome() -> None:
    """A good outcome needs no reason, a bad one has it."""
    ticket = Ticket(refresh_id=1, coalesced=True)
    found = replace(NOTHING, error="why", in_sync=True, proof=Proof.FULL)
    good = json.loads(encode(outcome_body(found, ticket, Outcome.APPLIED)))
    assert ("applied", True, "full") == (good["outcome"], good["in_sync"], good["proof"])
    assert "reason" not in good
    bad = json.loads(encode(outcome_body(found, ticket, Outcome.REJECTED)))
    assert ("rejected", "why") == (bad["outcome"], bad["reason"])


def test_receipt_of_what_is_not_in_force() -> None:
    """A good outcome of a look at the document does not hide that something else runs."""
    ticket = Ticket(refresh_id=1, coalesced=True)
    found = replace(NOTHING, not_in_force="primary_conninfo: overridden", proof=Proof.NONE)
    body = json.loads(encode(outcome_body(found, ticket, Outcome.UNCHANGED)))
    assert ("unchanged", False, "none") == (body["outcome"], body["in_sync"], body["proof"])
    assert "primary_conninfo: overridden" == body["reason"]


def test_errors() -> None:
    """An error is its text, and a hint only where there is one."""
    assert encode(error_body("no")) == b'{"error":"no"}\n'
    assert encode(error_body("no", "do this")) == b'{"error":"no","hint":"do this"}\n'


def test_error_hides_secrets() -> None:
    """What a source or a server says in its error may hold a password."""
    assert shown(replace(NOTHING, error="no: password=x"))["error"] == "no: password=********"
