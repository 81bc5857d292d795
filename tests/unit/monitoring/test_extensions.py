"""When the extensions are counted, in virtual time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from compute_ctl.monitoring.extensions import ExtensionCount
from devstack.virtual_loop import START, VirtualLoop

HOUR_S = 3600.0


@dataclass(kw_only=True)
class Counted(ExtensionCount):
    """Notes when it counts, in seconds; what a count is, is shown on a real server."""

    counts: list[int] = field(default_factory=list)

    async def count(self) -> None:
        """Note the time."""
        self.counts.append(round(asyncio.get_running_loop().time() - START))


def run(
    *, quiet: Callable[[float], bool], interval_s: Callable[[float], float], hours: float
) -> tuple[list[int], int]:
    """Run for so long; return when it counted, and how often it asked whether all is quiet."""
    loop, asked = VirtualLoop(), 0

    def now_quiet() -> bool:
        nonlocal asked
        asked += 1
        return quiet(loop.now - START)

    counter = Counted(
        connstr="",
        quiet=now_quiet,
        on_extensions=print,
        interval_s=lambda: interval_s(loop.now - START),
    )

    async def bounded() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(hours * HOUR_S):
                await counter.run()

    loop.run_until_complete(bounded())
    loop.close()
    return counter.counts, asked


def test_asks_for_quiet_only_when_a_count_is_due() -> None:
    """Once an interval, and no question in between."""
    found = run(quiet=lambda _: True, interval_s=lambda _: HOUR_S, hours=2.5)
    assert ([0, 3600, 7200], 3) == found


def test_counts_as_soon_as_it_is_quiet() -> None:
    """A count that is due waits, a second at a time."""
    found = run(quiet=lambda now: now > 9.5, interval_s=lambda _: HOUR_S, hours=0.5)
    assert ([10], 11) == found


def test_shorter_interval_is_heeded() -> None:
    """A document that wants it sooner is heeded within a minute, and never twice a minute."""
    found = run(
        quiet=lambda _: True, interval_s=lambda now: HOUR_S if now < 100 else 1.0, hours=0.06
    )
    assert ([0, 120, 180], 3) == found
