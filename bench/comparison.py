"""Pairs of measurements taken in turns, and what their ratio says."""

import itertools
import statistics
from collections.abc import Callable
from typing import Any

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


def show(row: Row) -> None:
    """Print one row of the table, and what is known beyond it."""
    if "skipped" in row:
        print(f"{row['what']:24} skipped: {row['skipped']}")
        return
    low, high = row["spread"]
    print(
        f"{row['what']:24}{row['ours']:>10.1f}{row['beside']:>10.1f}{row['ratio']:>9.3f}"
        f"   {low:.3f} to {high:.3f}",
        end="",
    )
    if row.get("noise"):
        print("   noise {:.3f} to {:.3f}".format(*row["noise"]), end="")
    if "steps" in row:
        parts = ", ".join(f"{step} {count}" for step, count in row["steps"].items())
        print(f"   {parts}", end="")
    print()
