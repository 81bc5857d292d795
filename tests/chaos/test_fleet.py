"""A short story with a known seed on a whole installation."""

from pathlib import Path

import pytest

from devstack.content import filled
from devstack.postgres import Template
from tests.chaos.fleet_run import DISK_SIZE, ROWS, run
from tests.chaos.fleet_schedule import plan
from tests.support.small_disk import Disk, small_disk

SEED = 5
ROUNDS = 2


@pytest.mark.timeout(300)  # a round may take as long to heal as it is allowed to
def test_a_fleet_breaks_and_heals(template: Template, tmp_path: Path) -> None:
    """No page is wrong, no query hangs, no generation falls, and each round ends well."""
    with filled(template, ROWS) as content, small_disk(DISK_SIZE) as disk:
        found = run(
            content,
            tmp_path,
            seed=SEED,
            rounds=ROUNDS,
            faults=6,
            seconds=2.0,
            disk=disk if isinstance(disk, Disk) else None,
        )

    assert [] == found.violations, found
    assert ROUNDS == found.rounds
    assert found.pages > 100


def test_a_seed_plans_the_same_faults() -> None:
    """So that a failure can be played again."""
    assert plan(7, 3, faults=8, seconds=4.0, disk=True) == plan(
        7, 3, faults=8, seconds=4.0, disk=True
    )
