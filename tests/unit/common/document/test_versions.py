"""Newer, older, or not to be compared."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from compute_common.document.versions import Version, is_older, raise_floor, version_of
from compute_common.errors import SpecError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE, TWO = Version(generation=1), Version(generation=2)
EARLY, LATE = Version(timestamp=NOON), Version(timestamp=NOON + timedelta(seconds=1))


@dataclass
class Versions:
    """The part of a spec that tells its version."""

    generation: int | None = None
    timestamp: str | None = None


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (Versions(), None),
        (Versions(generation=0), Version(generation=0)),
        (Versions(timestamp="2026-01-01T12:00:00Z"), EARLY),
        (Versions(timestamp="2026-01-01T13:00:01+01:00"), LATE),
        (Versions(generation=2, timestamp="2026-01-01T12:00:00Z"), TWO),
    ],
)
def test_version_of_a_spec(spec: Versions, version: Version | None) -> None:
    """The generation comes first, then the timestamp, in any time zone."""
    assert version_of(spec) == version


@pytest.mark.parametrize(
    "timestamp", ["", "yesterday", "2026-01-01", "2026-01-01T12:00:00", "1767268800"]
)
def test_refuses_what_is_no_time(timestamp: str) -> None:
    """A timestamp needs date, time and offset, also beside a generation."""
    with pytest.raises(SpecError, match=r"^spec\.timestamp: expected an RFC 3339 time"):
        version_of(Versions(generation=1, timestamp=timestamp))


@pytest.mark.parametrize(
    ("version", "floor", "older"),
    [
        (ONE, TWO, True),
        (TWO, TWO, False),
        (TWO, ONE, False),
        (EARLY, LATE, True),
        (LATE, EARLY, False),
        (None, TWO, False),
        (ONE, None, False),
        (EARLY, TWO, False),
        (ONE, LATE, False),
    ],
)
def test_is_older(version: Version | None, floor: Version | None, older: bool) -> None:
    """Only like kinds compare; what does not compare is never older."""
    assert is_older(version, floor) is older


@pytest.mark.parametrize(
    ("floor", "version", "raised"),
    [
        (None, None, None),
        (None, ONE, ONE),
        (ONE, None, ONE),
        (ONE, TWO, TWO),
        (TWO, ONE, TWO),
        (EARLY, LATE, LATE),
        (LATE, EARLY, LATE),
        (EARLY, ONE, ONE),
        (ONE, LATE, ONE),
    ],
)
def test_raise_floor(
    floor: Version | None, version: Version | None, raised: Version | None
) -> None:
    """The floor never falls; a source may begin to count, but not stop."""
    assert raise_floor(floor, version) == raised


def test_shows_itself() -> None:
    """A version reads as its number or its time."""
    assert ["2", "2026-01-01T12:00:00+00:00"] == [str(TWO), str(EARLY)]
