"""Some stories of the simulation; `python -m tests.simulation` tells as many as you like."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.wait import wait_until
from tests.simulation.__main__ import run
from tests.simulation.world import World

SEEDS = range(1, 201)
FAILED_ONCE = (502860, 504741, 722941, 803897)
"""A start with the same file that had failed; one that was said to have read a removed file; a
document blamed for the server of an earlier daemon, which hung with another file."""
BLOCK = 10
"""How many are one test."""

pytestmark = pytest.mark.usefixtures("quiet_log")


@pytest.mark.parametrize("first", SEEDS[::BLOCK])
def test_every_story_ends_well(first: int, record_property: Callable[[str, object], None]) -> None:
    """Whatever happens: no invariant is broken, and after quiet the newest document is in force."""
    seconds, checked = 0.0, 0
    for seed in range(first, first + BLOCK):
        story = run(seed)
        assert "" == story.failure, f"replay it: python -m tests.simulation {seed}"
        seconds += story.seconds
        checked += story.checked
    record_property("simulated", (BLOCK, seconds / 3600, checked))


@pytest.mark.parametrize("seed", FAILED_ONCE)
def test_what_failed_once_ends_well(seed: int) -> None:
    """Longer searches have found it."""
    assert "" == run(seed).failure, f"replay it: python -m tests.simulation {seed}"


def test_a_seed_replays_exactly() -> None:
    """The same seed tells the same story, step for step, so that a failure can be looked at."""
    stories = []
    for _ in range(2):
        story: list[str] = []
        World(17, note=story.append).run()
        stories.append(story)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 20


def test_a_killed_process_is_an_error() -> None:
    """Of many seeds, what a process does not live to tell is told as its death, at once."""
    command = [sys.executable, "-m", "tests.simulation", "--seconds", "600", "--processes", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
            _, second = wait_until("two processes", lambda: two(children.read_text().split()))
            os.kill(second, signal.SIGKILL)
            said, _ = running.communicate(timeout=10)
        finally:
            running.kill()
    assert f"; process {second} was ended by signal 9\n" in said
    assert 1 == running.returncode


def two(pids: list[str]) -> list[int]:
    """Return the process ids if there are two."""
    return [int(pid) for pid in pids] if len(pids) == 2 else []
