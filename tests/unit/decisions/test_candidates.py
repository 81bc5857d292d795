"""Which other pageserver is used where Postgres complains of the one in use."""

import pytest

from compute_ctl.decisions.candidates import REST_S, replacements
from compute_ctl.document.candidates import Candidates

A, B, C = "host=a", "host=b", "host=c"
ONE = Candidates((B, C), ((A, B, C), (C,)))
BOTH = frozenset({0, 1, 2})


@pytest.mark.parametrize(
    ("left_at", "expected"),
    [
        ({}, {0: C}),
        ({(0, C): 95.0}, {0: A}),
        ({(0, C): 95.0, (0, A): 99.0}, {}),
        ({(0, C): 100.0 - REST_S, (0, A): 99.0}, {0: C}),
        ({(1, C): 95.0}, {0: C}),
    ],
)
def test_the_next_one_that_has_rested(
    left_at: dict[tuple[int, str], float], expected: dict[int, str]
) -> None:
    """The list goes around; one that failed a moment ago, with the same shard, is passed over."""
    assert expected == replacements(ONE, BOTH, left_at, now=100.0)


def test_no_complaint_no_move() -> None:
    """Only shards of which Postgres complains are moved."""
    assert {} == replacements(ONE, frozenset({1}), {}, now=0.0)
    assert {} == replacements(Candidates(), BOTH, {}, now=0.0)
