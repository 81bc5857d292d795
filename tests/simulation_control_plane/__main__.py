"""Run seeds: ``python -m tests.simulation_control_plane SEED``, or ``--seeds 1000 --from N``.

One seed is told step by step; of many, only those that fail are printed. Exit status 1 if one does,
or a process dies.
"""

from __future__ import annotations

import sys

from devstack.virtual_loop import START
from tests.simulation.__main__ import Outcome, tell_seeds
from tests.simulation_control_plane.world import World


def run(seed: int, *, tell: bool = False) -> Outcome:
    """Run one seed."""
    world = World(seed, note=print if tell else None)
    failure = ""
    try:
        world.run()
    except AssertionError as error:
        failure = str(error) or repr(error)
    return Outcome(failure, world.loop.now - START, world.history.checked)


if __name__ == "__main__":
    sys.exit(tell_seeds(run, "tests.simulation_control_plane", __doc__))
