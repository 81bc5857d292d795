"""One scenario of a fleet from beginning to end, and what is measured of it."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import random
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench.fleet_compute import Compute, Fleet
from bench.fleet_control import BUCKET_S, Scenario

GIVE_UP_S: Final = 300.0
NOTICE_S: Final = 0.05
"""By then the sessions of every compute have seen their connection reset: the worst case."""
EARLIER_S: Final = 60.0
"""Over this time outages of single computes are spread, before the one that is measured."""
HOLD_S: Final = 3.0
"""After which each of them is over: a long poll was open by then."""
SHOWN_BEFORE_S: Final = 2.0
SHOWN_AFTER_S: Final = 28.0


@dataclass(kw_only=True)
class Measured:
    """One scenario's figures; seconds from the death of the pageserver."""

    scenario: Scenario
    affected: int
    healed: int
    healed_s: dict[str, float | None]
    """After which half, 99 % and all of the affected were served again; None: never."""
    requests: int
    """To the control plane, from the death until the last was healed."""
    peak: int
    """Requests a second in the busiest tenth of a second."""
    peak_second: int
    """Requests in the busiest second."""
    turned_away: int
    longest_wait_s: float
    """In the control plane's queue."""
    rates: list[int]
    """Requests a second in each tenth of a second, `SHOWN_BEFORE_S` before the death on."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def run(scenario: Scenario) -> Measured:
    """Run *scenario*; leaves thousands of tasks behind, so run it in a process of its own."""
    logging.disable(logging.CRITICAL)
    gc.disable()
    fleet = Fleet(scenario)
    return fleet.loop.run_until_complete(_tell(fleet))


async def _tell(fleet: Fleet) -> Measured:
    scenario, loop = fleet.scenario, fleet.loop
    rng = random.Random(scenario.seed)
    tasks: list[asyncio.Task[None]] = []
    computes = [Compute(fleet, number) for number in range(scenario.computes // scenario.sample)]
    spread = fleet.settings.reconcile_interval

    def start(compute: Compute) -> None:
        tasks.append(loop.create_task(compute.run()))

    for compute in computes:  # they have been running for as long as it takes to be spread
        loop.call_later(rng.uniform(0.0, spread), start, compute)
    await asyncio.sleep(spread)
    affected = computes[: _lost(scenario)]
    if scenario.known and scenario.long_poll:
        for compute in affected:
            at = rng.uniform(0.0, EARLIER_S)
            loop.call_later(at, compute.suffer)
            loop.call_later(at + HOLD_S, compute.move)
    await asyncio.sleep(EARLIER_S + 2 * HOLD_S)
    died_at = loop.now
    fleet.control.turned_away, fleet.control.longest_wait_s = 0, 0.0
    fleet.unhealed = len(affected)
    for compute in affected:
        compute.healed_at = 0.0
        loop.call_later(rng.uniform(0.0, NOTICE_S), compute.suffer)
    await asyncio.sleep(scenario.published_after_s)
    for compute in affected:
        compute.move()
    with suppress(TimeoutError):
        await asyncio.wait_for(fleet.all_healed.wait(), GIVE_UP_S)
    await asyncio.sleep(max(0.0, died_at + SHOWN_AFTER_S - loop.now))
    for task in tasks:
        if task.done():
            task.result()  # a daemon that died says why
    return _measure(fleet, affected, died_at)


def _lost(scenario: Scenario) -> int:
    """Return how many of those simulated lose their pageserver."""
    return max(1, round(scenario.computes // scenario.sample * scenario.share))


def _measure(fleet: Fleet, computes: list[Compute], died_at: float) -> Measured:
    healed = sorted(compute.healed_at - died_at for compute in computes if compute.healed_at)
    affected, times = len(computes), fleet.scenario.sample
    first = int(died_at / BUCKET_S)
    last = int((died_at + (healed[-1] if healed else GIVE_UP_S)) / BUCKET_S)
    counts = [fleet.control.arrivals[bucket] * times for bucket in range(first, last + 1)]
    per_second = round(1 / BUCKET_S)
    seconds = [sum(counts[at : at + per_second]) for at in range(len(counts))]
    shown = range(first - round(SHOWN_BEFORE_S / BUCKET_S), first + round(SHOWN_AFTER_S / BUCKET_S))
    return Measured(
        scenario=fleet.scenario,
        affected=affected * times,
        healed=len(healed) * times,
        healed_s={
            name: _quantile(healed, affected, share)
            for name, share in (("50 %", 0.5), ("99 %", 0.99), ("100 %", 1.0))
        },
        requests=sum(counts),
        peak=round(max(counts) / BUCKET_S),
        peak_second=max(seconds),
        turned_away=fleet.control.turned_away * times,
        longest_wait_s=round(fleet.control.longest_wait_s, 3),
        rates=[round(fleet.control.arrivals[bucket] * times / BUCKET_S) for bucket in shown],
    )


def _quantile(healed: list[float], affected: int, share: float) -> float | None:
    """Return when *share* of the affected were healed; None where they never were."""
    number = max(1, math.ceil(affected * share))
    return round(healed[number - 1], 3) if number <= len(healed) else None
