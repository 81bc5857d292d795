"""What a daemon has shown is what the next one knows, wherever the first one is killed."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tests.simulation import moves
from tests.simulation.documents import Kind, Ordering
from tests.simulation.world import World

SEED = 42


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _world(kind: Kind, *, full: bool, steps: int, versions: list[str]) -> World:
    """Return a story in which a push of *kind* comes, and the daemon is killed *steps* later.

    *full*: the disk is, by then.
    *versions* gets the versions that are shown as desired and applied when the next daemon, whose
    source tells only the document before, has had the time to come to rest.
    """

    async def push(world: World) -> None:
        await asyncio.sleep(5.0)
        world.disk.full = full
        moves._pushed(world, world.writer.write(world.place, kind))
        world.crash_at_step = world.loop.steps + steps
        await asyncio.sleep(20.0)
        assert world.daemon is not None
        shown = world.daemon.node.snapshot().config
        assert shown.in_sync
        for one in (shown.desired, shown.applied):
            assert one is not None
            assert one.version is not None
            versions.append(one.version)

    world = World(SEED)
    world.play, world.brief = push, True
    world.writer.ordering = Ordering.GENERATION
    world.has_library = world.checks = True
    world.supervised = world.forces = False
    return world


@pytest.mark.parametrize(
    ("kind", "full"),
    [(Kind.AGAIN, False), (Kind.AGAIN, True), (Kind.ROLES, False), (Kind.GOOD, False)],
)
def test_a_version_that_was_shown_stays(kind: Kind, *, full: bool) -> None:
    """Also where the pushed document makes the same file as the one before."""
    ends = set()
    for steps in range(1, 60):
        versions: list[str] = []
        _world(kind, full=full, steps=steps, versions=versions).run()
        desired, applied = versions
        assert desired == applied, f"killed {steps} steps after the push"
        ends.add(applied)
    assert {"1", "2"} == ends
