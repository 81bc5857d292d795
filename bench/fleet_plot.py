"""The plot of a fleet: request rates after the death, and how the heal grows with the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.fleet_control import BUCKET_S
from bench.fleet_run import SHOWN_BEFORE_S, Measured

SHOWN_S = 10.0


def plot(measured: Mapping[str, Measured], file: Path) -> None:
    """Draw the scenarios; the same figures give the same file."""
    mpl.rcParams.update(
        {"svg.hashsalt": "fleet", "svg.fonttype": "none", "font.size": 9, "axes.grid": True,
         "grid.alpha": 0.3}
    )  # fmt: skip
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    panels = figure.subplot_mosaic("ac;bc", width_ratios=(2, 1))
    _rates(panels["a"], measured, ("poll", "long poll"), "with jitter, as it is")
    _rates(panels["b"], measured, ("poll, no jitter", "long poll, no jitter"), "without jitter")
    _growth(panels["c"], measured)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    figure.savefig(temporary, format="svg", metadata={"Date": None})
    temporary.replace(file)


def _rates(axes: Axes, measured: Mapping[str, Measured], names: tuple[str, ...], how: str) -> None:
    for name in names:
        rates = measured[name].rates
        times = [number * BUCKET_S - SHOWN_BEFORE_S for number in range(len(rates))]
        axes.step(times, rates, where="post", label=name.partition(",")[0], linewidth=1.2)
    scenario = measured[names[0]].scenario
    axes.axvline(scenario.published_after_s, color="grey", linestyle=":", label="published")
    axes.set_xlim(-1.0, SHOWN_S)
    axes.set_yscale("symlog", linthresh=100)
    axes.set_ylim(bottom=0)
    axes.set_title(f"{scenario.computes:,} computes, {how}")
    axes.set_xlabel("seconds after the pageserver died")
    axes.set_ylabel("requests a second")
    axes.legend()


def _growth(axes: Axes, measured: Mapping[str, Measured]) -> None:
    """Draw the time until all but 1 % have healed, over the size of the fleet."""
    for how in ("poll", "long poll"):
        names = [name for name in measured if name.endswith(f"0, {how}")]
        sizes = [measured[name].scenario.computes for name in names]
        for share, style in (("50 %", ":"), ("99 %", "-")):
            after = [
                (measured[name].healed_s[share] or float("nan"))
                - measured[name].scenario.published_after_s
                for name in names
            ]
            colour = "C0" if how == "poll" else "C1"
            axes.plot(sizes, after, style, color=colour, marker="o", label=f"{how}, {share}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title("healed after the publication")
    axes.set_xlabel("computes")
    axes.set_ylabel("seconds")
    axes.legend()
