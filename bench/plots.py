"""The pictures in `docs/`, drawn from what the benchmarks have saved: `python -m bench.plots`.

The same results give the same bytes: no date, no random names.

    .venv/bin/python -m bench.plots [--from build/bench] [--to docs]
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.outcome import FOLDER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parent.parent / "docs"
FONT_SIZE = 9
LIMITS_MS = (10.0, 40.0)
Found = dict[str, Any]


def draw_heal(found: Found) -> "Figure":
    """Draw which share of the heals is over after how long, one curve a case."""
    from matplotlib import pyplot  # noqa: PLC0415 - takes a second

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    names = {row["case"] for row in found["cases"]}
    silent = next(name for name in names if name.startswith("silent, "))
    deadline = float(silent.rpartition(" of ")[2].removesuffix(" ms"))
    _curve(left, "floor", found["samples"]["floor"], color="black", linewidth=2)
    for row in found["cases"]:
        name = row["case"]
        if name == silent:
            _curve(left, name, [taken - deadline for taken in found["samples"]["silent"]])
        elif name != "silent":
            _curve(left, name, found["samples"][name])
    for row in found["late"]:
        _curve(right, row["case"], found["samples"][row["case"]])
    for row in found["reference"]:
        axes = right if "later" in row["case"] else left
        if "no stream" not in row["case"]:
            _curve(axes, f"reference, {row['case']}", [row["heals after, ms"]] * 2, linestyle=":")
    for limit in LIMITS_MS:
        left.axvline(limit, color="grey", linestyle="--", linewidth=1)
    left.set_title("news published already (dashed: goals of median and p99)")
    right.set_title("news published later, since the publication (reference: since the death)")
    for axes in (left, right):
        _label(axes, "milliseconds to the first page", "share of the rounds")
    left.set_xlim(left=0)
    _log_scale(right)
    return figure


def _curve(axes: "Axes", name: str, times: list[float], **style: Any) -> None:
    ordered = sorted(times)
    shares = [(number + 1) / len(ordered) for number in range(len(ordered))]
    axes.step(ordered, shares, where="post", label=name, **style)


def _log_scale(axes: "Axes") -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def _label(axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)


def draw_herd(found: Found) -> "Figure":
    """Draw time and work over the number of backends."""
    from matplotlib import pyplot  # noqa: PLC0415 - takes a second

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    rows = found["herd"]
    delays = sorted({row["published after, s"] for row in rows})
    for number, shards in enumerate(sorted({row["shards"] for row in rows})):
        for axes, delay, columns in (
            (left, delays[0], ("last served after, ms",)),
            (right, delays[-1], ("requests", "fetches")),
        ):
            here = [
                row
                for row in rows
                if row["shards"] == shards and row["published after, s"] == delay
            ]
            for column in columns:
                axes.plot(
                    [row["backends"] for row in here],
                    [row[column] for row in here],
                    color=f"C{number}",
                    marker="o",
                    linestyle="--" if column == "fetches" else "-",
                    label=f"{column.split(',')[0]}, shards: {shards}",
                )
    plain = [row for row in rows if row["published after, s"] == delays[0]]
    backends = sorted({row["backends"] for row in plain})
    means = [
        _mean(row["plain clients, ms"] for row in plain if row["backends"] == size)
        for size in backends
    ]
    left.plot(backends, means, color="black", linestyle=":", label="plain clients, in turns")
    left.set_yscale("log")
    left.set_title("news published already: until the last is served")
    right.set_title(f"published {delays[-1]:g} s later: what reached daemon and control plane")
    for axes, y in ((left, "milliseconds"), (right, "in the whole outage")):
        _label(axes, "backends", y)
        _log_scale(axes)
    right.set_ylim(bottom=0)
    return figure


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return sum(kept) / len(kept)


PLOTS: dict[str, Callable[[Found], "Figure"]] = {"heal": draw_heal, "herd": draw_herd}


def main() -> int:
    """Draw what has been measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.plots", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--from", dest="source", type=Path, default=FOLDER, metavar="FOLDER")
    parser.add_argument("--to", type=Path, default=DOCS, metavar="FOLDER")
    given = parser.parse_args()
    import matplotlib as mpl  # noqa: PLC0415 - takes a second

    mpl.use("svg")
    mpl.rc("svg", hashsalt="compute-refresh", fonttype="none")
    mpl.rc("font", size=FONT_SIZE)
    mpl.rc("axes", titlesize=FONT_SIZE)
    for name, draw in PLOTS.items():
        file = given.source / f"{name}.json"
        if not file.exists():
            print(f"{name} skipped: there is no {file}")
            continue
        figure = draw(json.loads(file.read_text()))
        figure.tight_layout()
        figure.savefig(given.to / f"{name}.svg", metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
