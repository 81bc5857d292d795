"""Pairs of measurements taken in turns, and what their ratio says."""

import itertools
import statistics
from collections.abc import Callable
from typing import Any

COLUMNS = ("measured", "ours", "beside", "ratio", "middle half", "remark")
Row = dict[str, Any]
Sample = tuple[float, float]
"""How many a second, and microseconds of CPU time for each."""


def compare(what: str, ours: list[float], beside: list[float]) -> Row:
    """Compare pairs of measurements; a ratio above 1 means ours is the greater number."""
    ratios = sorted(mine / other for mine, other in zip(ours, beside, strict=True))
    return {
        "what": what,
        "ours": statistics.median(ours),
        "beside": statistics.median(beside),
        "ratio": statistics.median(ratios),
        "spread": middle(ratios),
    }


def compare_samples(what: str, ours: list[Sample], beside: list[Sample]) -> list[Row]:
    """Compare rates, and CPU times, with the noise of the other side."""
    rows = []
    for column, unit in enumerate(("a second", "CPU us each")):
        other = [sample[column] for sample in beside]
        steps = sorted(after / before for before, after in itertools.pairwise(other))
        row = compare(f"{what}, {unit}", [sample[column] for sample in ours], other)
        rows.append({**row, "noise": middle(steps) if steps else None})
    return rows


def middle(ordered: list[float]) -> list[float]:
    """Return the quartiles, between which the middle half lies."""
    return [ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]]


def take_turns(
    rounds: int, ours: Callable[[], Sample], beside: Callable[[], Sample]
) -> tuple[list[Sample], list[Sample]]:
    """Measure both *rounds* times; every other round begins with the other side."""
    mine, others = [], []
    for number in range(rounds):
        if number % 2 == 0:
            mine.append(ours())
            others.append(beside())
        else:
            others.append(beside())
            mine.append(ours())
    return mine, others


def cells(row: Row) -> tuple[object, ...]:
    """Return what the table shows of a row, in the order of COLUMNS."""
    if "skipped" in row:
        return (row["what"], None, None, None, None, f"skipped: {row['skipped']}")
    noise = row.get("noise")
    steps = ", ".join(f"{step} {count}" for step, count in row.get("steps", {}).items())
    remark = f"noise {_range(noise)}" if noise else steps
    return (row["what"], row["ours"], row["beside"], row["ratio"], _range(row["spread"]), remark)


def _range(ends: list[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"
