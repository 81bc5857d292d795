"""The first quorum of answers decides."""

import pytest

from compute_ctl.decisions.safekeeper_quorum import (
    TimelineStatus,
    addresses,
    agreed_position,
    quorum,
)


def status(flush: str, commit: str | None = None) -> TimelineStatus:
    """Return an answer."""
    return TimelineStatus(flush_lsn=flush, commit_lsn=commit or flush)


@pytest.mark.parametrize(
    ("answers", "count", "position"),
    [
        ([status("0/1F"), status("0/1F")], 3, "0/1F"),
        ([status("0/1f"), status("0/1F")], 3, "0/1F"),
        ([status("0/1F"), status("0/1F"), status("0/2F")], 3, "0/1F"),
        ([status("0/1F"), status("0/2F"), status("0/1F")], 3, None),
        ([status("0/1F", "0/1E"), status("0/1F", "0/1E")], 3, None),
        ([status("0/1F"), None], 3, None),
        ([None, None], 3, None),
        ([status("0/1F")], 3, None),
        ([status("0/0"), status("0/0")], 3, None),
        ([status("x"), status("x")], 3, None),
        ([], 0, None),
    ],
)
def test_position(answers: list[TimelineStatus | None], count: int, position: str | None) -> None:
    """Flushed and committed have to be the same for all of it."""
    assert position == agreed_position(answers, count)


def test_majorities_and_names() -> None:
    """More than half of the names; the generation at the head of the list is not counted."""
    assert [1, 2, 2, 3, 3] == [quorum(count) for count in range(1, 6)]
    assert ("a:1", "b:2") == addresses("g#12:a:1,b:2")
    assert () == addresses("")
