"""The claims of `bench.fleet`, on a fleet small enough for a test."""

from dataclasses import replace

import pytest

from bench.fleet import row, tell
from bench.fleet_control import Scenario
from bench.fleet_run import Measured

SCENARIO = Scenario(computes=90, capacity=2000.0)
CROWDED = replace(SCENARIO, computes=60, capacity=5.0, published_after_s=0.0)
"""Four seconds of work for the control plane at once: it turns away most of them."""


@pytest.fixture(scope="module")
def told() -> dict[str, Measured]:
    """Return what became of some fleets."""
    scenarios = {
        "poll": replace(SCENARIO, long_poll=False),
        "long poll": SCENARIO,
        "again": SCENARIO,
        "crowded": CROWDED,
    }
    return dict(zip(scenarios, tell(scenarios.values(), 2), strict=True))


def test_everybody_heals(told: dict[str, Measured]) -> None:
    """Whatever the control plane can bear, all computes find their pages again."""
    for name, measured in told.items():
        assert (name, measured.scenario.computes // 3) == (name, measured.healed)


def test_a_long_poll_asks_less_and_heals_sooner(told: dict[str, Measured]) -> None:
    """A source that holds requests is asked less than half as often, and tells at once."""
    poll, held = told["poll"], told["long poll"]
    assert held.requests < poll.requests / 2
    heal, slow = held.healed_s["99 %"], poll.healed_s["99 %"]
    assert heal is not None
    assert slow is not None
    assert heal - SCENARIO.published_after_s < 0.1 < slow - SCENARIO.published_after_s


def test_a_crowded_control_plane_is_left_alone(told: dict[str, Measured]) -> None:
    """Retry-After is kept by all who were turned away, so they come no faster than it says."""
    crowded = told["crowded"]
    last = crowded.healed_s["100 %"]
    assert last is not None
    assert crowded.turned_away > 0
    assert 4.0 <= last < 12.0
    assert crowded.requests < crowded.affected * (2 + last / 2.0)


def test_the_same_seed_gives_the_same_figures(told: dict[str, Measured]) -> None:
    """Nothing of the machine shows in what is measured, nor in the row of the table."""
    assert told["long poll"] == told["again"]
    assert row("x", told["long poll"]) == row("x", told["again"])
