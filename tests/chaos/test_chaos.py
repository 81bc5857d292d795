"""A short story with a known seed; `python -m tests.chaos` tells as long ones as you like."""

import pytest

from devstack.postgres import Template
from tests.chaos.run import run

SEED = 1
ROUNDS = 3


@pytest.mark.timeout(180)  # a round may take as long to heal as it is allowed to
def test_everything_breaks_and_heals(template: Template) -> None:
    """No page is wrong, no query hangs, no error is unexpected, and each round ends healed."""
    figures = run(template, seed=SEED, rounds=range(1, ROUNDS + 1), round_seconds=1.5, faults=6)

    assert not figures.failed, figures.as_text()
    assert ROUNDS == figures.rounds == len(figures.heals)
    assert figures.faults.total() >= 2 * ROUNDS
    assert figures.tally.pages > 1000
