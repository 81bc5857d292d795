"""Some stories of the simulation; `python -m tests.simulation` tells as many as you like."""

import logging
import time
from collections.abc import Iterator

import pytest

from tests.simulation.__main__ import run
from tests.simulation.world import World

SECONDS = 6.0
FIRST = 1
ENOUGH = 100


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep the daemon's log out of it: it would be longer than the suite's."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_story_ends_well() -> None:
    """Whatever happens: no invariant is broken, and after quiet the newest document is in force."""
    end = time.monotonic() + SECONDS
    for seed in range(FIRST, FIRST + ENOUGH):
        assert "" == run(seed), f"replay it: python -m tests.simulation {seed}"
        if time.monotonic() > end:
            break


def test_a_seed_replays_exactly() -> None:
    """The same seed tells the same story, step for step, so that a failure can be looked at."""
    stories = []
    for _ in range(2):
        story: list[str] = []
        World(17, note=story.append).run()
        stories.append(story)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 20
