"""Tables for people, at the width of their terminals."""

import io
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from compute_ctl.cli import tables
from compute_ctl.decisions.status import (
    ConfigView,
    DesiredView,
    GenerationView,
    PostgresView,
    StatusBody,
)
from tests.unit.snapshots import NOTHING, having

REASON = (
    "could not fetch the configuration from http://control-plane.example.com:9898/compute/api/v2/"
    "computes/compute-1/spec: connection refused"
)
ATTEMPTS: list[dict[str, Any]] = [
    {
        "number": 12345,
        "who": "nothing_in_force",
        "started_at": "2026-01-02T03:04:05.678Z",
        "outcome": "fetch_failed",
        "generation": 123,
        "duration_ms": 123456.7,
        "reason": REASON,
    },
    {
        "kind": "migrations",
        "started_at": "2026-01-02T03:04:06Z",
        "outcome": "applied",
        "generation": 1,
        "duration_ms": 9999.9,
        "reason": "",
    },
]


def printed(renderable: RenderableType, width: int) -> str:
    """What a terminal of *width* columns shows."""
    file = io.StringIO()
    Console(file=file, width=width).print(renderable)
    return file.getvalue()


def test_history_fits_a_terminal_of_80_columns() -> None:
    """One line an attempt, uncut; the reason below it."""
    lines = [line.rstrip() for line in printed(tables.history(ATTEMPTS), 80).splitlines()]
    assert [
        "when (UTC)           attempt     who               outcome       gen  took",
        "2026-01-02 03:04:05  12345       nothing_in_force  fetch_failed  123  2 min",
        "    could not fetch the configuration from",
        "    http://control-plane.example.com:9898/compute/api/v2/computes/compute-1/spec",
        "    : connection refused",
        "2026-01-02 03:04:06  migrations  -                 applied       1    9999.9 ms",
    ] == lines


@pytest.mark.parametrize("width", [20, 40, 80, 240])
def test_history_loses_nothing(width: int) -> None:
    """Whatever the width, all that is known is there."""
    found = re.sub(r"\s", "", printed(tables.history(ATTEMPTS), width))
    for one in (*("03:04:05", "nothing_in_force", "fetch_failed", "9999.9ms"), REASON):
        assert re.sub(r"\s", "", one) in found


def test_versions_that_are_times_fit_80_columns() -> None:
    """A version may be a time stamp; nothing beside it is cut for that."""
    fact: dict[str, Any] = {
        "generation": 1234,
        "sha256": "0123456789abcdef",
        "version": "2026-01-02T03:04:05.123456+00:00",
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    config = {
        "desired": DesiredView(source="file", **fact),
        "applied": GenerationView(**fact),
        "last_known_good": GenerationView(**fact),
    }
    text = printed(tables.generations(having(config=config).config), 80)
    assert 3 == len(re.findall(r" 1234 +0123456789ab .* days ago", text))


def test_the_status_of_an_earlier_daemon() -> None:
    """Commands newer than the daemon that runs show what it tells: it lacks fields added since."""
    body = msgspec.to_builtins(NOTHING)
    for view, part in (
        (ConfigView, body["config"]),
        (PostgresView, body["postgres"]),
        (StatusBody, body),
    ):
        for field in msgspec.structs.fields(view):
            if not field.required:
                del part[field.name]

    text = printed(tables.status(msgspec.convert(body, StatusBody), address="here"), 80)
    assert re.search(r"^postgres +not running *$", text, re.MULTILINE)
