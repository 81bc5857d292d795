"""Chaos on a whole installation: ``python -m tests.chaos.fleet_run [--seed N] [--rounds K]``.

A seed decides what is killed, stopped, cut off, moved and lost in each round. Then there is peace,
and within a bound all must be well: both computes run with the map that the storage controller
has, and read the whole table rightly. At no time may a page be wrong, a query hang, or the
generation that is published fall. Exit status 1 if something of that happened.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from devstack.content import filled
from devstack.installation import make_folder
from devstack.postgres import Template
from devstack.wait import wait_until
from tests.chaos.fleet import Fleet
from tests.chaos.fleet_schedule import Fault, plan
from tests.support.small_disk import Disk, small_disk

ROWS: Final = 12_000
DISK_SIZE: Final = "16m"
"""For the control plane's store."""
HEAL_S: Final = 75.0
"""The daemon notices a long poll that died in silence after 10 s at the latest, the storage
controller tries a hook again after 20 s, the control plane compares all after 36 s; twice that."""
LOOK_S: Final = 0.05


@dataclass(kw_only=True)
class Findings:
    """What one run has found."""

    rounds: int = 0
    faults: list[str] = field(default_factory=list)
    heals_s: list[float] = field(default_factory=list)
    pages: int = 0
    violations: list[str] = field(default_factory=list)
    """What must not have happened."""


def play(fleet: Fleet, faults: list[Fault], findings: Findings) -> None:
    """Play one round: trouble, then peace, then all must be well within the bound."""
    due: list[tuple[float, Callable[[], None]]] = []
    for fault in faults:
        due.append((fault.at, partial(fleet.begin, fault)))
        due.append((fault.at + fault.lasts, partial(fleet.end, fault)))
        findings.faults.append(f"{fault.kind} {fault.target}")
    begun = time.monotonic()
    for at, act in sorted(due, key=lambda one: one[0]):
        while time.monotonic() < begun + at:
            findings.violations += fleet.look()
            time.sleep(LOOK_S)
        act()
    peace = time.monotonic()
    why = ""

    def well() -> bool:
        nonlocal why
        findings.violations += fleet.look()
        why = fleet.healed()
        return not why

    try:
        wait_until("all to be well", well, HEAL_S)
    except AssertionError:
        findings.violations.append(f"not healed: {why}")
    findings.heals_s.append(time.monotonic() - peace)
    findings.rounds += 1


def run(
    content: Path,
    folder: Path,
    *,
    seed: int,
    rounds: int,
    faults: int,
    seconds: float,
    disk: Disk | None,
) -> Findings:
    """Play rounds on one installation."""
    findings = Findings()
    with Fleet(content, folder, disk, seed) as fleet:
        for number in range(1, rounds + 1):
            planned = plan(seed, number, faults=faults, seconds=seconds, disk=disk is not None)
            play(fleet, planned, findings)
            if findings.violations:
                break
        findings.pages = sum(load.total().pages for load in fleet.loads)
        findings.violations += fleet.look()
    return findings


def main() -> int:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.fleet_run", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--faults", type=int, default=8, help="in a round")
    parser.add_argument("--seconds", type=float, default=4.0, help="of trouble, in a round")
    given = parser.parse_args()
    template, folder = Template(), make_folder("fleet-")
    try:
        with filled(template, ROWS) as content, small_disk(DISK_SIZE) as disk:
            usable = disk if isinstance(disk, Disk) else None
            findings = run(content, folder, disk=usable, **vars(given))
    finally:
        template.remove()
    print(json.dumps(asdict(findings), indent=1))  # noqa: T201 (what the command says)
    if findings.violations:
        print(f"logs: {folder}", file=sys.stderr)  # noqa: T201 (what the command says)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
