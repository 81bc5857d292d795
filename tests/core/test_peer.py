from typing import Any

import pytest

from pg_hook import ffi, lib

SECOND = 1_000_000
SUSPECT_AFTER, QUIET = 30 * SECOND, 60 * SECOND


@pytest.fixture(name="watch")
def watch_fixture() -> Any:
    """A watch on which nothing has failed."""
    return ffi.new("struct pgh_peer_watch *")


def failed(watch: Any, peer: int, second: float) -> bool:
    """Report a failure at this second of the test."""
    now = 1 + int(second * SECOND)
    return bool(lib.pgh_peer_failed(watch, peer, now, SUSPECT_AFTER, QUIET))


def test_same_node_failing_for_long(watch: Any) -> None:
    """One node that fails for 30 s raises suspicion, and keeps doing so."""
    assert [failed(watch, 7, second) for second in (0, 10, 29.9, 30, 31)] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_nodes_in_turn_do_not_add_up(watch: Any) -> None:
    """Different nodes that fail one after another are routine."""
    assert not any(failed(watch, 1 + second // 20, second) for second in range(100))


def test_a_pause_starts_anew(watch: Any) -> None:
    """Two failures an hour apart are not an hour of failure."""
    assert not failed(watch, 7, 0)
    assert not failed(watch, 7, 60)


def test_recovery_forgets(watch: Any) -> None:
    """A node that works again starts anew; the last one to recover ends the suspicion."""
    failed(watch, 7, 0)
    failed(watch, 8, 0)
    assert lib.pgh_peer_recovered(watch, 7) is False
    assert lib.pgh_peer_recovered(watch, 8) is True
    assert not failed(watch, 7, 31)


def test_nameless_nodes_are_one(watch: Any) -> None:
    """Reports that name nobody are counted together."""
    failed(watch, 0, 0)
    assert failed(watch, 0, 30)
    assert lib.pgh_peer_recovered(watch, 0) is True


def test_more_nodes_than_slots(watch: Any) -> None:
    """The longest quiet node gives way; the busy ones keep their start."""
    for peer in range(10, 26):
        failed(watch, peer, peer - 10)
    assert not failed(watch, 99, 20)  # takes the slot of 10
    assert failed(watch, 11, 31)
    assert not failed(watch, 10, 45)
