"""What a person is told about a status, beside its facts."""

from typing import Any

import pytest

from compute_ctl.cli.advice import hints, out_of_sync

A, B = {"sha256": "a", "generation": 3}, {"sha256": "b", "generation": None}
DRIFT = [{"name": "work_mem", "reason": "overridden", "file": None, "line": None}]


def status(**changes: Any) -> dict[str, Any]:
    """A status of a healthy compute, but for what is said of its parts."""
    return {
        "status": changes.get("status", "running"),
        "error": changes.get("error"),
        "config": {"applied": changes.get("applied", A), "desired": A, "quarantined": []},
        "refresh": {
            "last_attempt": {"outcome": changes.get("outcome", "applied")},
            "suspected_since": changes.get("suspected_since"),
        },
        "postgres": {
            "pid": changes.get("pid", 4711),
            "silent_since": changes.get("silent_since"),
            "drift": changes.get("drift", []),
            "library_loaded": changes.get("library_loaded", True),
        },
    }


@pytest.mark.parametrize(
    ("config", "drift", "told"),
    [
        ((None, None, []), [], "no document is known"),
        ((A, None, []), [], "the document desired is not in force, nothing is in force"),
        ((B, A, []), [], "the document desired is not in force, generation 3 is in force"),
        ((B, A, [B]), DRIFT, "the document desired was refused, generation 3 is in force"),
        ((A, A, []), DRIFT, "its servers are overridden by something else"),
    ],
)
def test_why_it_is_not_in_sync(config: tuple[Any, Any, Any], drift: list[Any], told: str) -> None:
    """The reason, and what runs instead."""
    facts = dict(zip(("desired", "applied", "quarantined"), config, strict=True))

    assert out_of_sync(facts, drift) == told


@pytest.mark.parametrize(
    ("changes", "beginnings"),
    [
        ({}, []),
        ({"status": "empty", "applied": None, "pid": None}, ["Publish a document."]),
        ({"pid": None}, ["Start PostgreSQL, or read its log."]),
        ({"silent_since": "2026-01-01T00:00:00Z"}, ["Is -C right,"]),
        ({"error": "connection refused", "outcome": "fetch_failed"}, ["Mend the source,"]),
        (
            {"error": "connection refused", "outcome": "fetch_failed", "pid": None},
            ["Start PostgreSQL,", "Mend the source,"],
        ),
        ({"error": "work_mem: invalid", "outcome": "rejected"}, ["Mend the document"]),
        ({"error": "quarantined since then: x; y tries again", "outcome": "rejected"}, []),
        ({"error": "cannot roll back: nothing is applied", "outcome": "rejected"}, []),
        (
            {"suspected_since": "2026-01-01T00:00:00Z", "outcome": "unchanged"},
            ["The source still names these servers:"],
        ),
        ({"drift": DRIFT}, ['"compute_ctl explain work_mem" says']),
        ({"drift": DRIFT * 2}, ['"compute_ctl explain SETTING" says']),
        ({"drift": [{"name": "include_if_exists"}]}, ["Put the include line back"]),
        ({"library_loaded": False}, ["Add neon_refresh to shared_preload_libraries,"]),
    ],
)
def test_hints(changes: dict[str, Any], beginnings: list[str]) -> None:
    """Each trouble has its own; where all is well, or the error says it, there is none."""
    found = list(hints(status(**changes)))

    assert [hint[: len(start)] for hint, start in zip(found, beginnings, strict=True)] == beginnings
