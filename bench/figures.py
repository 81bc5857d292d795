"""What a list of measurements says. Pure; durations are milliseconds unless a name says more."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_HOLDS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


def quantile(times: Sequence[float], share: float) -> float:
    """Return the smallest of *times* that so large a *share* of them does not exceed."""
    if not times:
        raise ValueError("no measurements")
    ordered = sorted(times)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(times: Sequence[float]) -> float:
    """Return the middle one."""
    return quantile(times, 0.5)


def summary(times: Sequence[float]) -> dict[str, float]:
    """Return number, median, p99 and worst of *times*."""
    return {
        "rounds": len(times),
        "median_ms": round(median(times), 3),
        "p99_ms": round(quantile(times, 0.99), 3),
        "worst_ms": round(max(times), 3),
    }


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A limit that a measurement keeps or does not."""

    what: str
    relation: str
    """`<=` or `>=`."""
    limit: float
    measured: float
    unit: str = "ms"

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return _HOLDS[self.relation](self.measured, self.limit)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {**asdict(self), "met": self.met}
