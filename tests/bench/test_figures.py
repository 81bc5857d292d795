"""What a list of measurements says."""

import pytest

from bench.figures import Goal, quantile, summary


def test_summary_of_a_hundred() -> None:
    """Of 1 to 100 the median is 50 and the p99 is 99, in whatever order they come."""
    assert summary([float(n) for n in range(100, 0, -1)]) == {
        "rounds": 100,
        "median_ms": 50.0,
        "p99_ms": 99.0,
        "worst_ms": 100.0,
    }


def test_one_measurement_is_every_quantile() -> None:
    """A single measurement is its own median and p99."""
    assert [7.0] * 4 == [quantile([7.0], share) for share in (0.0, 0.5, 0.99, 1.0)]


def test_no_measurement_has_no_quantile() -> None:
    """Nothing measured is an error, not a zero."""
    with pytest.raises(ValueError, match="no measurements"):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("relation", "measured", "met"),
    [("<=", 10.0, True), ("<=", 10.1, False), (">=", 10.0, True), (">=", 9.9, False)],
)
def test_a_goal_is_met_at_its_limit(relation: str, measured: float, *, met: bool) -> None:
    """A limit itself is still good."""
    assert Goal(what="x", relation=relation, limit=10, measured=measured).met is met
