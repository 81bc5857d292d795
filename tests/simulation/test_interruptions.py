"""Whoever comes at the end of an await of the daemon: it goes on, and the last document wins."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import pytest

from tests.simulation import moves
from tests.simulation.interruptions import Action, Interruption, Interruptions, What
from tests.simulation.world import World

ORDERS = ((0, True), (0, False), (1, False), (2, False), (3, False))
"""Turns after the end of the await, and whether before what is ready in that turn."""
HELD_S = 0.2
"""For how long the source holds the news back that the daemon waits for."""
SEED = 42
"""One in which a long poll is open by then."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _world(plan: Callable[[Interruptions], None]) -> World:
    """Return a story in which the pages move; when they have, *plan* may plan something."""

    async def heal(world: World) -> None:
        await asyncio.sleep(2.0)
        world.place += 1
        world.worker_looks.set()
        world.interruptions.passed.clear()
        plan(world.interruptions)
        await asyncio.sleep(HELD_S)
        world.control.publish(world.writer.write(world.place))
        await asyncio.sleep(0.1)

    world = World(SEED)
    world.play, world.brief = heal, True
    world.has_library = world.has_etags = world.long_polls = world.checks = True
    world.supervised = world.forces = world.writer.candidates = False
    world.kinds.clear()  # good documents only
    return world


def _ends() -> dict[What, int]:
    """Return how many ends of an await there are in the story."""
    found: dict[What, int] = {}
    world = _world(lambda _: None)
    heal = world.play

    async def counted(world: World) -> None:
        await heal(world)
        found.update(world.interruptions.passed)

    world.play = counted
    world.run()
    return found


def test_the_story_waits_for_everything() -> None:
    """There is something of each kind to be interrupted."""
    assert set(What) == set(_ends())


@pytest.mark.timeout(300)  # it only computes, and a busy machine gives it little time for that
@pytest.mark.parametrize("action", [moves.push_once, moves.terminate, moves.ask])
def test_no_moment_is_a_bad_one(action: Action) -> None:
    """At the end of every await of the story: no task of the daemon dies, and all ends well."""
    for what, count in _ends().items():
        for number, (steps, first) in product(range(count), ORDERS):
            planned = Interruption(action=action, what=what, ends=number, steps=steps, first=first)
            world = _world(partial(Interruptions.plan, interruption=planned))
            try:
                world.run()
            except AssertionError as error:
                pytest.fail(f"{planned}: {error}")
