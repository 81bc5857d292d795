"""Who is alive, who runs with what is published, and what a hook may be answered."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from control_plane.decisions import fleet, hooks
from control_plane.decisions.fleet import Condition
from control_plane.decisions.model import (
    ComputeRecord,
    Heard,
    Report,
    ReportedDocument,
    Suspicion,
)

NOW = 1000.0
HASH = "a" * 64


def published(generation: int = 7, **fields: Any) -> ComputeRecord:
    """Return a compute to which something is published."""
    return ComputeRecord(
        id="one",
        document=Raw(b"{}"),
        body=Raw(b"{}"),
        generation=generation,
        content_sha256=HASH,
        **fields,
    )


def applied(
    generation: int | None = 7, content: str = HASH, proof: str | None = "full", **more: Any
) -> Heard:
    """Return what is heard of a compute that says it runs with something."""
    said = ReportedDocument(generation=generation, hash=content, proof=proof)
    return Heard(reported_at=NOW - 1, report=Report(applied=said, **more))


REFUSED = Heard(
    reported_at=NOW - 1,
    report=Report(
        desired=ReportedDocument(generation=7, hash=HASH), outcome="rejected", reason="bad work_mem"
    ),
)


def moved(generation: int = 7, content: str = HASH, proof: str = "upstream") -> Heard:
    """Return what is heard of a compute that refuses a document but has its servers."""
    servers = ReportedDocument(generation=generation, hash=content, proof=proof)
    assert REFUSED.report is not None
    return replace(REFUSED, report=replace(REFUSED.report, servers=servers))


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (Heard(), False),
        (Heard(asked_at=NOW - 60), True),
        (Heard(asked_at=NOW - 60.1), False),
        (Heard(asked_at=NOW - 600, holds=1), True),
        (Heard(reported_at=NOW - 5, asked_at=NOW - 600), True),
        (Heard(reachable_at=NOW - 5), True),
    ],
)
def test_alive(heard: Heard, expected: bool) -> None:
    """Heard of within 60 s in any way, or a request of it is held."""
    assert expected is fleet.alive(heard, NOW)


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (Heard(), False),
        (applied(), True),
        (applied(proof="upstream"), True),
        (applied(proof="none"), False),
        (applied(proof=None), False),
        (applied(generation=6), False),
        (applied(generation=8), True),
        (applied(generation=None), False),
        (applied(content="b" * 64), False),
        (applied(content="b" * 64, generation=8), False),
        (Heard(pushed_generation=6), False),
        (Heard(pushed_generation=7), True),
    ],
)
def test_runs_with(heard: Heard, expected: bool) -> None:
    """Proven, the same content, and not older: a tenant may have moved away and back."""
    assert expected is fleet.runs_with(published(), heard)


def test_nobody_runs_with_what_is_not_published() -> None:
    """Nor was it pushed."""
    nothing = ComputeRecord(id="one", document=Raw(b"{}"))
    heard = Heard(pushed_generation=0, report=Report(applied=ReportedDocument(generation=0)))
    assert not fleet.runs_with(nothing, heard)


@pytest.mark.parametrize(
    ("record", "heard", "incomplete", "expected"),
    [
        (published(), applied(), "", Condition.IN_SYNC),
        (published(), applied(), "node 9 is unknown", Condition.INCOMPLETE),
        (ComputeRecord(id="one", document=Raw(b"{}")), None, "", Condition.INCOMPLETE),
        (published(), None, "", Condition.SILENT),
        (published(), Heard(asked_at=NOW), "", Condition.UNKNOWN),
        (published(), applied(generation=6), "", Condition.APPLYING),
        (published(), REFUSED, "", Condition.REFUSED),
        (published(push_url="http://x"), Heard(reachable_at=NOW), "", Condition.APPLYING),
        (
            published(push_url="http://x"),
            Heard(reachable_at=NOW, push_error="500"),
            "",
            Condition.REFUSED,
        ),
    ],
)
def test_condition(
    record: ComputeRecord, heard: Heard | None, incomplete: str, expected: Condition
) -> None:
    """One word for each compute."""
    assert expected is fleet.condition(record, heard, NOW, incomplete=incomplete)


@pytest.mark.parametrize(
    ("heard", "blind_until", "incomplete", "reason"),
    [
        (applied(), 0.0, {}, None),
        (Heard(), 0.0, {}, None),
        (Heard(asked_at=NOW - 61), NOW + 9, {}, None),
        (Heard(), NOW + 9, {}, "may be alive: nothing was heard of it yet, known in 9 s"),
        (applied(), 0.0, {"one": "node 9 is unknown"}, "has no document for it: node 9 is unknown"),
        (Heard(), 0.0, {"one": "node 9 is unknown"}, None),
        (applied(6), 0.0, {}, "has not applied generation 7 yet, runs with 6"),
        (Heard(asked_at=NOW), 0.0, {}, "does not say whether it runs with generation 7"),
        (REFUSED, 0.0, {}, "refuses generation 7: bad work_mem"),
        (moved(), 0.0, {}, None),
        (moved(6), 0.0, {}, "refuses generation 7: bad work_mem"),
        (moved(content="b" * 64), 0.0, {}, "refuses generation 7: bad work_mem"),
        (moved(proof="none"), 0.0, {}, "refuses generation 7: bad work_mem"),
    ],
)
def test_the_answer_is_truthful(
    heard: Heard, blind_until: float, incomplete: dict[str, str], reason: str | None
) -> None:
    """423 names who is, or may be, alive and does not run with it; a compute that is down pulls."""
    found = hooks.answer(
        [(published(), heard)], now=NOW, blind_until=blind_until, incomplete=incomplete
    )
    expected = (200, []) if reason is None else (423, [("one", reason)])
    assert expected == (found.code, [(one.compute_id, one.reason) for one in found.laggards])


@pytest.mark.parametrize(
    ("record", "heard", "incomplete", "final"),
    [
        (published(), applied(), {}, True),
        (published(), applied(6), {}, False),
        (published(), REFUSED, {}, True),
        (published(8), REFUSED, {}, False),
        (published(), REFUSED, {"one": "node 9 is unknown"}, False),
        (published(push_url="http://one"), REFUSED, {}, False),
    ],
)
def test_what_is_answered_at_once(
    record: ComputeRecord, heard: Heard, incomplete: dict[str, str], final: bool
) -> None:
    """200, and a refusal of this generation, unless another is to come.

    But a daemon that is pushed to is told again.
    """
    found = hooks.answer([(record, heard)], now=NOW, blind_until=0.0, incomplete=incomplete)
    assert final == found.final


def test_without_computes_nobody_has_to_apply() -> None:
    """Of a tenant."""
    assert 200 == hooks.answer([], now=NOW, blind_until=NOW + 60).code


def test_news() -> None:
    """What is new in a report, for the timeline of a compute."""
    dead = Suspicion(source="pageserver", shard=0, endpoint="ps-1:6400", trouble="dead")
    one = Report(status="running", applied=ReportedDocument(generation=6, hash="b", proof="full"))
    two = Report(
        status="failed",
        applied=ReportedDocument(generation=7, hash="a", proof="upstream"),
        outcome="rejected",
        reason="bad work_mem",
        suspicions=(dead,),
    )
    assert [
        ("status", "failed"),
        ("applied", "generation 7 (upstream)"),
        ("rejected", "bad work_mem"),
        ("suspects", "pageserver ps-1:6400 (shard 0): dead"),
    ] == fleet.news(one, two)
    assert [] == fleet.news(two, two)
    gone = ("suspects no longer", "pageserver ps-1:6400 (shard 0): dead")
    assert gone in fleet.news(two, one)
    assert [("status", "running"), ("applied", "generation 6 (full)")] == fleet.news(None, one)
