"""How long an outage is, from a pageserver's death to the next page, and who needs how long.

Storage controller, pageservers (stand-ins), control plane, daemon and Postgres run as processes.
A pageserver attaches a shard of which it has no copy in `--attach-seconds`; with Neon's own, 0.8 to
1.3 s were measured. All in one run:

- *act*: the control plane tells the storage controller; beside it, in turns, the same outage where
  the controller is told *by hand* at the moment of the death: nobody can be faster. *Warm*: another
  pageserver has a copy. *Verdicts*: those that were acted on; all are true, for the node was dead,
  also where it was *started again* a second later;
- *rare*: with hooks lost, doubled, reordered, with the node started again, with it stopped;
- *defaults*: the control plane observes, and the controller finds out by itself, as it comes;
- *false*: troubles in which no node is down.

    .venv/bin/python -m bench.outage [--rounds 100] [--parts act defaults false …] [--json FILE]
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bench.figures import Goal, median, quantile
from bench.outage_false import BEHIND_PROXY, ELSE, Calm, calm
from bench.outage_rounds import Rounds, Site, play
from bench.outcome import Outcome, add_json_argument
from devstack.installation import make_folder
from devstack.outage import Phases
from devstack.postgres import Template

KILLED, BY_HAND, AGAIN = "killed", "killed, by hand", "killed, started again"
WARM, WARM_BY_HAND = "killed, warm", "killed, warm, by hand"
STOPPED, STOPPED_WARM, STALE = "stopped", "stopped, warm", "stale map"
STEPS = ("suspected", "decided", "offline", "attached", "published", "applied", "page")
RARE = 5
"""Rounds of the cases of which fewer are played: one in so many."""

Found = dict[str, list[Phases]]
Kinds = dict[str, Callable[[], Phases]]


class Bench:
    """What all parts need."""

    def __init__(self, given: argparse.Namespace, template: Template, folder: Path) -> None:
        self.given = given
        self._template = template
        self._folder = folder

    @property
    def seldom(self) -> int:
        """How many rounds are played of rare cases."""
        return max(1, int(self.given.rounds) // RARE)

    def rounds(self, name: str, *, act: bool, warm: bool = False, proxied: bool = False) -> Rounds:
        """Make a place to play rounds on."""
        folder = self._folder / name
        folder.mkdir()
        site = Site(
            act=act,
            warm=warm,
            proxied=proxied,
            attach_s=self.given.attach_seconds,
            suspect_after_s=self.given.suspect_after,
        )
        return Rounds(self._template, folder, site)


def act(bench: Bench) -> Found:
    """Play outages that the control plane ends, and the same ended by hand."""
    with bench.rounds("act", act=True) as cold:
        kinds: Kinds = {KILLED: cold.killed, BY_HAND: partial(cold.killed, by_hand=True)}
        return play(bench.given.rounds, {**kinds, STALE: cold.stale})


def rare(bench: Bench) -> Found:
    """Play outages with other troubles beside, or of another kind."""
    with bench.rounds("rare", act=True) as cold:
        hooks: Kinds = {
            f"killed, hook {fault}": partial(cold.killed, hook=fault)
            for fault in ("lost", "doubled", "reordered")
        }
        return play(bench.seldom, {**hooks, AGAIN: cold.started_again, STOPPED: cold.stopped})


def warm(bench: Bench) -> Found:
    """Play outages where another pageserver has a copy of the shard."""
    with bench.rounds("warm", act=True, warm=True) as warm:
        kinds: Kinds = {WARM: warm.killed, WARM_BY_HAND: partial(warm.killed, by_hand=True)}
        return play(bench.seldom, {**kinds, STOPPED_WARM: warm.stopped})


def defaults(bench: Bench) -> Found:
    """Play outages that the storage controller finds by its heartbeats."""
    with bench.rounds("defaults", act=False) as rounds:
        kinds: Kinds = {KILLED: rounds.killed, STOPPED: rounds.stopped}
        found = play(bench.given.default_rounds, kinds)
        more: Kinds = {AGAIN: rounds.started_again, STALE: rounds.stale}
        return found | play(bench.given.default_rounds, more)


def false(bench: Bench) -> dict[str, list[Calm]]:
    """Play troubles in which no node is down."""
    found: dict[str, list[Calm]] = {}
    for proxied, scenes in ((True, BEHIND_PROXY), (False, ELSE)):
        with bench.rounds(f"false-{proxied}", act=True, proxied=proxied) as rounds:
            for name, scene in scenes.items():
                found[name] = [calm(rounds, scene) for _ in range(bench.given.false_rounds)]
    return found


def phase_rows(found: Mapping[str, Sequence[Phases]]) -> list[tuple[object, ...]]:
    """Return a row for each case: the median of each step, and more of the page."""
    rows: list[tuple[object, ...]] = []
    for name, phases in found.items():
        steps: list[float | None] = []
        for step in STEPS:
            times = [it.times()[step] for it in phases]
            known = [taken for taken in times if taken is not None]
            steps.append(median(known) if 2 * len(known) > len(times) else None)
        pages = [it.page for it in phases]
        moved = sum(it.verdict == "acted" for it in phases)
        rows.append((name, len(phases), *steps, quantile(pages, 0.99), moved))
    return rows


def false_rows(found: Mapping[str, Sequence[Calm]]) -> list[tuple[object, ...]]:
    """Return a row for each trouble."""
    return [
        (
            name,
            len(rounds),
            sum(bool(it.acted) for it in rounds),
            sum(bool(it.refused) for it in rounds),
            max(it.stall_ms for it in rounds),
        )
        for name, rounds in found.items()
    ]


def goals(found: Found, suspect_after_ms: float) -> list[Goal]:
    """Return what was wanted of the outages that were played, and what was measured."""
    pages = {name: [it.page for it in phases] for name, phases in found.items()}
    wanted = []
    if KILLED in pages:
        killed = median(pages[KILLED])
        wanted += [
            ("killed: median", killed, 1000, "ms"),
            ("killed: p99", quantile(pages[KILLED], 0.99), 2000, "ms"),
            ("killed, beside by hand: medians", killed / median(pages[BY_HAND]), 1.2, "x"),
            ("stale map: median", median(pages[STALE]), 150, "ms"),
        ]
    if STOPPED_WARM in pages:
        late = median(pages[STOPPED_WARM]) - suspect_after_ms
        wanted.append((f"{STOPPED_WARM}: median after response_suspect_after", late, 1000, "ms"))
    return [
        Goal(what=what, relation="<=", limit=limit, measured=measured, unit=unit)
        for what, measured, limit, unit in wanted
    ]


PARTS: Final = {
    "act": ("the control plane acts", act),
    "rare": ("the control plane acts, rarer troubles", rare),
    "warm": ("the control plane acts, another pageserver has a copy", warm),
    "defaults": ("it only observes: the storage controller's heartbeats, 5 s and 30 s", defaults),
}


def run(bench: Bench, outcome: Outcome) -> None:
    """Play and print the parts that were asked for."""
    columns = ("case", "rounds", *STEPS, "page p99", "verdicts")
    wanted: list[Goal] = []
    for part, (title, play_part) in PARTS.items():
        if part not in bench.given.parts:
            continue
        found = play_part(bench)
        outcome.table(part, f"{title}: ms since the trouble", columns, phase_rows(found))
        outcome.keep(f"{part}_pages", {name: [it.page for it in found[name]] for name in found})
        if part != "defaults":
            wanted += goals(found, bench.given.suspect_after * 1000)
    if "false" in bench.given.parts:
        calms = false(bench)
        troubles = ("no node is down", "rounds", "false verdicts", "verdicts refused", "longest ms")
        outcome.table("false", "false verdicts", troubles, false_rows(calms))
        wrong = sum(len(it.acted) for rounds in calms.values() for it in rounds)
        wanted.append(Goal(what="false verdicts", relation="<=", limit=0, measured=wrong, unit=""))
    outcome.goals(wanted)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.outage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = (*PARTS, "false")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--rounds", type=int, default=100, help=f"a {RARE}th of rare cases")
    parser.add_argument("--default-rounds", type=int, default=2, help="each takes half a minute")
    parser.add_argument("--false-rounds", type=int, default=20, help="of each trouble")
    parser.add_argument("--attach-seconds", type=float, default=0.8)
    parser.add_argument("--suspect-after", type=float, default=1.0, help="seconds of silence")
    add_json_argument(parser, "outage")
    given = parser.parse_args()
    outcome = Outcome("outage")
    template, folder = Template(), make_folder("outage-")
    try:
        run(Bench(given, template, folder), outcome)
    finally:
        template.remove()
        shutil.rmtree(folder, ignore_errors=True)
    outcome.save(given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
