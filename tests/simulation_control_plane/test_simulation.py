"""Some stories; `python -m tests.simulation_control_plane` tells as many as you like."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation_control_plane.__main__ import run
from tests.simulation_control_plane.world import World

SEEDS = range(1, 201)
BLOCK = 10
"""How many are one test."""

pytestmark = pytest.mark.usefixtures("quiet_log")


@pytest.mark.parametrize("first", SEEDS[::BLOCK])
def test_every_story_ends_well(first: int, record_property: Callable[[str, object], None]) -> None:
    """Whatever happens: no invariant is broken, and after quiet all run with what `locate` says."""
    seconds, checked = 0.0, 0
    for seed in range(first, first + BLOCK):
        story = run(seed)
        assert "" == story.failure, f"replay it: python -m tests.simulation_control_plane {seed}"
        seconds += story.seconds
        checked += story.checked
    record_property("simulated", (BLOCK, seconds / 3600, checked))


def test_a_seed_replays_exactly() -> None:
    """The same seed tells the same story, step for step, so that a failure can be looked at."""
    stories = []
    for _ in range(2):
        story: list[str] = []
        World(12, note=story.append).run()
        stories.append(story)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 20
