"""What a report says, and when it says something new."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import structs

from compute_common.document.versions import Version
from compute_ctl.decisions.model import (
    Attempt,
    Desired,
    Outcome,
    Suspected,
    Suspicion,
)
from compute_ctl.decisions.persistent_state import GenerationRef
from compute_ctl.decisions.proof import PendingRestart, Proof
from compute_ctl.decisions.report import MAX_SUSPICIONS, Report, report_of
from compute_ctl.decisions.snapshot import Snapshot
from tests.unit.snapshots import NOTHING

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEAD = Suspicion(
    source="pageserver", shard=3, trouble="dead", sqlstate="08006", text="password=hidden", count=2
)
SUSPECTED = Suspected(suspicion=DEAD, since=AT, endpoint="ps:6400")
TROUBLED = replace(NOTHING, suspicions=(SUSPECTED,))


def report(snapshot: Snapshot) -> Report:
    """Return the report of a snapshot."""
    return report_of(snapshot, version="1.2")


def test_nothing_known() -> None:
    """A daemon that has just begun reports so."""
    assert {
        "daemon": "compute_ctl",
        "version": "1.2",
        "status": "empty",
        "desired": None,
        "applied": None,
        "outcome": None,
        "reason": "",
        "pending_restart": [],
        "suspicions": [],
    } == msgspec.json.decode(msgspec.json.encode(report(NOTHING)))


def test_documents_and_outcome() -> None:
    """Both documents carry the control plane's own number, and the applied one its proof."""
    applied = GenerationRef(
        generation=40,
        marker="40.nonce.hash",
        content_sha256="ab" * 32,
        at=AT,
        version=Version(generation=7),
    )
    desired = Desired(
        content_sha256="cd" * 32, version=Version(generation=8), at=AT, source="control_plane"
    )
    attempt = Attempt(
        number=1,
        who="tick",
        started_at=AT,
        finished_at=AT,
        duration_ms=1.0,
        outcome=Outcome.REJECTED,
        reason="primary_conninfo: password=hidden is bad",
    )
    waits = PendingRestart(name="max_connections", old="100", new="200", file=None, line=None)
    snapshot = replace(
        NOTHING,
        applied=applied,
        desired=desired,
        proof=Proof.FULL,
        last_attempt=attempt,
        pending_restart=(waits,),
    )
    body = msgspec.json.decode(msgspec.json.encode(report(snapshot)))

    assert {"generation": 8, "hash": "cd" * 32, "proof": None} == body["desired"]
    assert {"generation": 7, "hash": "ab" * 32, "proof": "full"} == body["applied"]
    assert ("rejected", ["max_connections"]) == (body["outcome"], body["pending_restart"])
    assert "is bad" in body["reason"]
    assert "hidden" not in body["reason"]


def test_suspicions() -> None:
    """Each names server and trouble, without secrets, and there is a bound."""
    (found,) = msgspec.json.decode(msgspec.json.encode(report(TROUBLED)))["suspicions"]

    assert "hidden" not in found.pop("text")
    assert {
        "source": "pageserver",
        "shard": 3,
        "endpoint": "ps:6400",
        "class": "dead",
        "sqlstate": "08006",
        "since": "2026-01-02T03:04:05Z",
        "count": 2,
    } == found
    many = replace(NOTHING, suspicions=(SUSPECTED,) * (MAX_SUSPICIONS + 1))
    assert MAX_SUSPICIONS == len(report(many).suspicions)


def test_a_repeated_complaint_is_no_news() -> None:
    """A higher count of the same trouble says nothing new; another trouble, or its end, does."""
    first = report(TROUBLED)
    later = AT + timedelta(days=1)
    repeated = replace(SUSPECTED, suspicion=structs.replace(DEAD, count=9), since=later)
    other = replace(SUSPECTED, suspicion=structs.replace(DEAD, trouble="silent"))

    assert first.says_more_than(None)
    assert not report(replace(NOTHING, suspicions=(repeated,))).says_more_than(first)
    assert report(replace(NOTHING, suspicions=(other,))).says_more_than(first)
    assert report(NOTHING).says_more_than(first)
