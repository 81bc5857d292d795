"""The marker identifies a file, and a damaged one is recognised."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_common.document.versions import Version
from compute_ctl.document.generation import LiveFile, Marker, file_text, map_sha256

NONCE = "0123456789abcdef" * 2
BODY = "work_mem = '1MB'\n"
MARKER = Marker.of(generation=7, nonce=NONCE, body=BODY)


def test_marker_reads_back() -> None:
    """A marker is generation, nonce and hash of the body, joined by dots."""
    assert str(MARKER) == f"7.{NONCE}.{hashlib.sha256(BODY.encode()).hexdigest()}"
    assert MARKER == Marker.parse(str(MARKER))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        f"0.{NONCE}.{'0' * 64}",
        f"07.{NONCE}.{'0' * 64}",
        f"7.{NONCE[1:]}.{'0' * 64}",
        f"7.{NONCE.upper()}.{'0' * 64}",
        f"7.{NONCE}.{'0' * 63}",
        f"7.{NONCE}.{'0' * 64}\n",
        f" 7.{NONCE}.{'0' * 64}",
        f"٧.{NONCE}.{'0' * 64}",
    ],
)
def test_refuses_what_is_no_marker(text: str) -> None:
    """Only the exact form is one: no space, no other digits, no leading zero."""
    assert Marker.parse(text) is None


def test_file_ends_with_the_marker() -> None:
    """The marker line is the last, so that it is read after everything it stands for."""
    text = file_text(BODY, MARKER)

    assert text == f"{BODY}neon_refresh.config_generation = '{MARKER}'\n"
    assert LiveFile.parse(text) == LiveFile(marker=MARKER, body=BODY)
    assert LiveFile.parse(text).intact


@given(st.text())
def test_any_body_reads_back(body: str) -> None:
    """Whatever the body, also one with a marker line in it, the last line is the marker."""
    body = f"{body}\n"
    marker = Marker.of(generation=1, nonce=NONCE, body=body)

    found = LiveFile.parse(file_text(file_text(body, marker), marker))

    assert found.marker == marker
    assert found.body == file_text(body, marker)


@pytest.mark.parametrize("cut", range(1, len(file_text(BODY, MARKER)) + 1))
def test_torn_file_is_not_intact(cut: int) -> None:
    """A file that ends early, anywhere, is not taken for whole."""
    text = file_text(BODY, MARKER)

    assert not LiveFile.parse(text[:-cut]).intact


@pytest.mark.parametrize(
    "text",
    [
        "fsync = off\n" + file_text(BODY, MARKER),
        file_text(BODY.replace("1MB", "2MB"), MARKER),
        file_text(BODY, MARKER) + "fsync = off\n",
        file_text(BODY, MARKER).replace("'7.", "'8x."),
        "",
        BODY,
    ],
)
def test_edited_file_is_not_intact(text: str) -> None:
    """A change before, in or after the body is noticed."""
    assert not LiveFile.parse(text).intact


def test_map_hash() -> None:
    """SHA-256 over marker, stripe size and list, one a line, no newline at the end."""
    expected = hashlib.sha256(f"{MARKER}\n2048\na:1,b:1".encode()).hexdigest()

    assert map_sha256(MARKER, stripe_size=2048, shards=("a:1", "b:1")) == expected


@pytest.mark.parametrize(
    "floor",
    [None, Version(generation=7), Version(timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))],
)
def test_floor_comes_back(floor: Version | None) -> None:
    """The version behind the marker is read as it was written, and is no part of the body."""
    marker = Marker.of(generation=1, nonce="a" * 32, body="a = 1\n")
    assert LiveFile.parse(file_text("a = 1\n", marker, floor)) == LiveFile(
        marker=marker, body="a = 1\n", floor=floor
    )


@pytest.mark.parametrize("text", ["x", "-1", "2026-01-02T03:04:05", "1" * 21, ""])
def test_no_version_is_none(text: str) -> None:
    """What nobody has written there is no floor."""
    assert Version.parse(text) is None
