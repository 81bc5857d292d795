"""Reading postmaster.pid, in every state it can be found in."""

import pytest

from compute_ctl.postgres.postmaster import PostmasterPid

LINES = ["4711", "/d", "1795366800", "5432", "/tmp", "localhost", "  5432001     65538", "ready   "]


def text(count: int = 8, **replaced: str) -> str:
    """The first *count* lines, some replaced (``line0="..."``)."""
    return "".join(f"{replaced.get(f'line{i}', line)}\n" for i, line in enumerate(LINES[:count]))


def test_complete_file() -> None:
    """All that matters is taken from its line."""
    assert PostmasterPid.parse(text()) == PostmasterPid(
        pid=4711, start_time=1795366800, port=5432, status="ready"
    )


@pytest.mark.parametrize("status", ["starting", "stopping", "standby ", ""])
def test_only_ready_is_ready(status: str) -> None:
    """A server that starts, stops, or recovers without taking connections is not ready."""
    parsed = PostmasterPid.parse(text(line7=status))
    assert parsed is not None
    assert parsed.ready is False


@pytest.mark.parametrize("count", range(1, 8))
def test_file_in_the_making(count: int) -> None:
    """As many lines as there are tell the pid, and that the server is not ready."""
    parsed = PostmasterPid.parse(text(count))
    assert parsed is not None
    assert (4711, False) == (parsed.pid, parsed.ready)


@pytest.mark.parametrize("content", ["", "\n", "garbage\n", "-4711\n", "0\n", "1\n"])
def test_nobody(content: str) -> None:
    """No pid, a single-user backend's negative one and impossible ones name no postmaster."""
    assert PostmasterPid.parse(content) is None
