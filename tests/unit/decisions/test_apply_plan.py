"""What a document is worth, and what follows a refusal."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from compute_common.document.document import Document, decode_document
from compute_common.document.versions import Version
from compute_ctl.decisions.apply_plan import (
    QUARANTINE_RETRY,
    Action,
    Baseline,
    GoodBody,
    classify,
    fallback_body,
    reasons,
)
from compute_ctl.decisions.model import Desired, Written
from compute_ctl.decisions.persistent_state import Quarantined
from compute_ctl.decisions.proof import Complaint
from compute_ctl.document.generation import Marker

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BODY = "work_mem = '5MB'\n"


def document(**spec: Any) -> Document:
    """Return a document with *spec*."""
    return decode_document(json.dumps({"spec": {"cluster": {}, **spec}}).encode())


def written(body: str = BODY, *, content: str = "", proven: bool = True) -> Written:
    """Return a generation with *body* as its rest."""
    marker = Marker.of(generation=1, nonce="0" * 32, body=body)
    return Written(
        marker=marker, rest=body, upstream="", at=NOW, content_sha256=content, proven=proven
    )


def desired(content: str) -> Desired:
    """Return the desired document with this content."""
    return Desired(content_sha256=content, version=None, at=NOW, source="file")


KNOWN = Baseline(written=None, desired=None, floor=None, quarantined=None, seen_before=False)


def weighed(doc: Document, known: Baseline, *, body: str = BODY, force: bool = False) -> Action:
    """Return the step for *doc*."""
    return classify(doc, body, known, now=NOW, force=force)


def test_the_first_document_is_news() -> None:
    """With nothing written, everything is news."""
    assert weighed(document(), KNOWN) is Action.APPLY


def test_what_runs_is_nothing_to_do() -> None:
    """The same document, proven, asks for nothing."""
    doc = document()

    assert (
        weighed(doc, replace(KNOWN, written=written(content=doc.content_sha256))) is Action.NOTHING
    )


def test_what_is_written_but_not_proven_is_proven_again() -> None:
    """Equal bytes are not success: only Postgres's proof is."""
    doc = document()
    known = replace(KNOWN, written=written(content=doc.content_sha256, proven=False))

    assert weighed(doc, known) is Action.VERIFY


def test_another_document_with_the_same_bytes_moves_only_the_facts() -> None:
    """Roles may change without a byte of the configuration file."""
    assert weighed(document(), replace(KNOWN, written=written(content="other"))) is Action.ADOPT


def test_other_bytes_are_news() -> None:
    """A document that renders differently is written."""
    assert weighed(document(), replace(KNOWN, written=written("other = '1'\n"))) is Action.APPLY


@pytest.mark.parametrize(("generation", "expected"), [(6, Action.STALE), (7, Action.APPLY)])
def test_an_older_version_is_stale(generation: int, expected: Action) -> None:
    """A version below the floor is refused, the floor itself is not."""
    known = replace(KNOWN, floor=Version(generation=7))

    assert weighed(document(generation=generation), known) is expected


def test_force_does_not_go_backwards() -> None:
    """Force tries a quarantined document again, it does not lower the floor."""
    known = replace(KNOWN, floor=Version(generation=7))

    assert weighed(document(generation=6), known, force=True) is Action.STALE


@pytest.mark.parametrize(
    ("generation", "age", "force", "expected"),
    [
        (1, timedelta(hours=1), False, Action.QUARANTINED),
        (2, QUARANTINE_RETRY, False, Action.APPLY),
        (2, QUARANTINE_RETRY - timedelta(seconds=1), False, Action.QUARANTINED),
        (2, timedelta(seconds=-1), False, Action.APPLY),  # the clock was set back
        (1, timedelta(), True, Action.APPLY),
    ],
)
def test_quarantine(generation: int, age: timedelta, *, force: bool, expected: Action) -> None:
    """Quarantined content is tried again in a new version, once a minute at most, or by force."""
    doc = document(generation=generation)
    entry = Quarantined(
        content_sha256=doc.content_sha256,
        reason="bad",
        at=NOW - age,
        version=Version(generation=1),
    )

    assert weighed(doc, replace(KNOWN, quarantined=entry), force=force) is expected


def test_a_periodic_pull_does_not_undo_a_push() -> None:
    """An unversioned document seen before is no news while another one is desired."""
    known = replace(
        KNOWN, written=written("pushed = '1'\n"), desired=desired("pushed"), seen_before=True
    )

    assert weighed(document(), known) is Action.KEEP
    assert weighed(document(), replace(known, seen_before=False)) is Action.APPLY


def bad(name: str) -> tuple[Complaint, ...]:
    """Return a complaint about *name*."""
    return (Complaint(name=name, reason="invalid value", file="c.conf", line=3),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("work_mem", "old rest, new upstream"),
        (None, "old rest, new upstream"),
        ("neon.pageserver_connstring", "old rest, old upstream"),
        ("primary_conninfo", "old rest, old upstream"),
    ],
)
def test_a_refused_rest_never_costs_the_new_upstream(name: str, expected: str) -> None:
    """Only a refused upstream brings the old one back."""
    good = GoodBody(rest="old rest, ", upstream="old upstream")

    assert fallback_body(upstream="new upstream", bad=bad(name), good=good) == expected


def test_without_a_good_generation_there_is_no_fallback() -> None:
    """The first document ever has nothing to fall back to."""
    assert fallback_body(upstream="new", bad=bad("work_mem"), good=None) is None


def test_reasons_name_setting_reason_and_place() -> None:
    """What status and log say about a refusal."""
    complaints = (*bad("work_mem"), Complaint(name=None, reason="syntax error"))

    assert "work_mem: invalid value (c.conf:3); syntax error" == reasons(complaints)
    assert "work_mem: invalid value; syntax error" == reasons(complaints, places=False)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('invalid value for parameter "work_mem": "x"', 'work_mem: invalid value: "x"'),
        (
            '1 kB is outside the valid range for parameter "work_mem" (64 .. 9)',
            "work_mem: 1 kB is outside the valid range (64 .. 9)",
        ),
        ('invalid value for parameter "other"', 'work_mem: invalid value for parameter "other"'),
    ],
)
def test_reasons_name_the_setting_once(said: str, shown: str) -> None:
    """The server repeats the name of the setting; a reader has seen it already."""
    assert shown == reasons((Complaint(name="work_mem", reason=said),))
