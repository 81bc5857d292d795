"""What a report says, and when it says something new."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import structs

from compute_common.document.versions import Version
from compute_ctl.decisions.model import (
    Attempt,
    Outcome,
    Suspected,
    Suspicion,
)
from compute_ctl.decisions.proof import Proof
from compute_ctl.decisions.report import MAX_SUSPICIONS, Report, report_of
from compute_ctl.decisions.sql_report import PendingRestart
from compute_ctl.decisions.status import DesiredView, GenerationView, StatusBody
from tests.unit.snapshots import NOTHING, having

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEAD = Suspicion(
    source="pageserver", shard=3, trouble="dead", sqlstate="08006", text="password=hidden", count=2
)
SUSPECTED = Suspected(suspicion=DEAD, since=AT, endpoint="ps:6400")


def report(*suspicions: Suspected, status: StatusBody = NOTHING) -> Report:
    """Return the report of a status with *suspicions*."""
    return report_of(status, suspicions, version="1.2")


def test_nothing_known() -> None:
    """A daemon that has just begun reports so."""
    assert {
        "daemon": "compute_ctl",
        "version": "1.2",
        "status": "empty",
        "desired": None,
        "applied": None,
        "servers": None,
        "outcome": None,
        "reason": "",
        "pending_restart": [],
        "suspicions": [],
    } == msgspec.json.decode(msgspec.json.encode(report()))


def test_documents_and_outcome() -> None:
    """Both documents carry the control plane's own number, and the applied one its proof."""
    applied = GenerationView(generation=40, sha256="ab" * 32, version="7", at=AT)
    desired = DesiredView(
        generation=None, sha256="cd" * 32, version="8", at=AT, source="control_plane"
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
    status = having(
        config={"applied": applied, "desired": desired, "proof": Proof.FULL},
        refresh={"last_attempt": attempt},
        postgres={"pending_restart": (waits,)},
    )
    body = msgspec.json.decode(msgspec.json.encode(report(status=status)))

    assert {"generation": 8, "hash": "cd" * 32, "proof": None} == body["desired"]
    assert {"generation": 7, "hash": "ab" * 32, "proof": "full"} == body["applied"]
    assert ("rejected", ["max_connections"]) == (body["outcome"], body["pending_restart"])
    assert "is bad" in body["reason"]
    assert "hidden" not in body["reason"]


def test_servers_of_a_refused_document() -> None:
    """They are named with the proof of what is in the file, and are news."""
    proven = having(config={"proof": Proof.UPSTREAM})
    said = report_of(proven, (), version="1.2", servers=(Version.parse("9"), "ef" * 32))
    assert said.servers is not None
    assert (9, "ef" * 32, Proof.UPSTREAM) == (
        said.servers.generation,
        said.servers.hash,
        said.servers.proof,
    )
    assert said.says_more_than(report_of(proven, (), version="1.2"))


def test_suspicions() -> None:
    """Each names server and trouble, without secrets, and there is a bound."""
    (found,) = msgspec.json.decode(msgspec.json.encode(report(SUSPECTED)))["suspicions"]

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
    many = (SUSPECTED,) * (MAX_SUSPICIONS + 1)
    assert MAX_SUSPICIONS == len(report(*many).suspicions)


def test_a_repeated_complaint_is_no_news() -> None:
    """A higher count of the same trouble says nothing new; another trouble, or its end, does."""
    first = report(SUSPECTED)
    later = AT + timedelta(days=1)
    repeated = replace(SUSPECTED, suspicion=structs.replace(DEAD, count=9), since=later)
    other = replace(SUSPECTED, suspicion=structs.replace(DEAD, trouble="silent"))

    assert first.says_more_than(None)
    assert not report(repeated).says_more_than(first)
    assert report(other).says_more_than(first)
    assert report().says_more_than(first)
