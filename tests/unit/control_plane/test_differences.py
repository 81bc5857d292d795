"""Differences between documents, as lines for people."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from control_plane.decisions.differences import difference


def document(**spec: Any) -> bytes:
    """Return a document with these fields."""
    return msgspec.json.encode({"spec": spec})


def settings(**values: str) -> dict[str, Any]:
    """Return a cluster with these settings."""
    return {"settings": [{"name": name, "value": it} for name, it in values.items()]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, None, []),
        (document(generation=1, mode="Primary"), document(generation=2, mode="Primary"), []),
        (None, document(mode="Primary"), ["spec.mode: (none) -> Primary"]),
        (
            document(mode="Primary"),
            document(),
            ["spec.mode: Primary -> (none)"],
        ),
        (document(a=[1, 2]), document(a=[1, 3]), ["spec.a[1]: 2 -> 3"]),
        (
            document(cluster=settings(a="1", b="2")),
            document(cluster=settings(b="2", a="3")),
            ["spec.cluster.settings[a]: 1 -> 3"],
        ),
        (
            document(storage_auth_token="abc"),
            document(storage_auth_token="def"),
            ["spec.storage_auth_token: ******** -> ********"],
        ),
        (
            document(cluster=settings(**{"x.password": "abc"})),
            document(cluster=settings(**{"x.password": "def"})),
            ["spec.cluster.settings[x.password]: ******** -> ********"],
        ),
        (
            document(cluster=settings(primary_conninfo="host=a password=abc")),
            document(cluster=settings(primary_conninfo="host=b password=abc")),
            [
                "spec.cluster.settings[primary_conninfo]:"
                " host=a password=******** -> host=b password=********"
            ],
        ),
    ],
)
def test_lines(old: bytes | None, new: bytes | None, expected: list[str]) -> None:
    """One for each value that differs, without secrets and without the generation."""
    assert expected == difference(old, new)


def test_long_values_are_cut() -> None:
    """And newlines are shown as such."""
    (line,) = difference(None, document(text="a\nb" + 300 * "c"))
    assert line.startswith(r"spec.text: (none) -> a\x0ab")
    assert 230 > len(line)
