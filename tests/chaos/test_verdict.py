"""Which errors a session may see, and when a query hangs."""

import pytest

from tests.chaos.figures import Figures
from tests.chaos.schedule import Fault, Round
from tests.chaos.verdict import SLACK_S, Ended, Tally, expected, hung


@pytest.mark.parametrize(("took", "verdict"), [(4.0, False), (4.0 + SLACK_S + 0.1, True)])
def test_hung_is_past_the_bound(took: float, verdict: bool) -> None:
    """A query hangs that takes longer than its bound, with what a busy machine may add."""
    assert verdict is hung(Ended(took=took, bound=4.0, timeout=None))


@pytest.mark.parametrize(
    ("state", "timeout", "took", "since_crash", "verdict"),
    [
        ("08006", None, 4.0, None, True),
        ("08P01", None, 0.1, None, True),
        ("57014", 1.5, 1.5, None, True),
        ("57014", 1.5, 0.2, None, False),
        ("57014", None, 1.5, None, False),
        ("57P03", None, 0.1, 1.0, True),
        ("", None, 0.1, 1.0, True),
        ("57P03", None, 0.1, 100.0, False),
        ("", None, 0.1, None, False),
        ("58030", None, 0.1, 1.0, False),
        ("XX000", None, 0.1, 1.0, False),
    ],
)
def test_errors_that_may_be(
    state: str, timeout: float | None, took: float, since_crash: float | None, verdict: bool
) -> None:
    """Given up, malformed, timed out in time; lost connections only after a crash we caused."""
    ended = Ended(
        took=took, bound=4.0, timeout=timeout, error=True, state=state, since_crash=since_crash
    )
    assert verdict is expected(ended)


def test_figures_tell_a_failure_and_its_replay() -> None:
    """A run without trouble has not failed; a wrong page or a violation makes it fail, by round."""
    figures = Figures(5)
    figures.begin(Round(number=3, seconds=1.0, faults=(), heal_bound=1.0))
    figures.fault(Fault(at=0, kind="kill", target="pageserver-1"))
    figures.tally = Tally(queries=2, errors={"08006": 1})
    figures.healed(0.5)
    assert not figures.failed
    assert {"kill pageserver": 1} == figures.as_dict()["faults"]

    figures.tally.wrong = 1
    assert figures.failed
    figures.tally.wrong = 0
    figures.unhealed("because")
    assert figures.failed
    assert ["python -m tests.chaos --seed 5 --round 3"] == figures.replay()
    assert "round 3: not healed: because" in figures.as_text()
