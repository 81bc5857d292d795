"""Troubles in which no node is down, though computes may think so: no verdict may be acted on.

A node that is dead when it is declared so is no false verdict, even if it is back a second later;
`bench.outage` counts those apart.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.outage_rounds import NODES, Rounds

TROUBLE_S: Final = 3.0
SLOW_MS: Final = 2000
HARMLESS: Final = frozenset({"refused"})
"""States of a verdict by which nothing is done."""


@dataclass(frozen=True, kw_only=True)
class Calm:
    """What came of one round in which no node was down."""

    stall_ms: float
    """Until the page came."""
    acted: tuple[str, ...]
    """Verdicts that were taken, all of them false."""
    refused: tuple[str, ...]
    """Why others were not."""


def calm(rounds: Rounds, round_of: Callable[[Rounds], float]) -> Calm:
    """Play one round; *round_of* returns how long the query took, in milliseconds."""
    rounds.renew_control_plane()
    since = datetime.now(UTC)
    stall = round_of(rounds)
    history = rounds.stack.control_plane.history(since)
    taken = [one["verdict"] for one in history if one.get("verdict") is not None]
    return Calm(
        stall_ms=stall,
        acted=tuple(one["state"] for one in taken if one["state"] not in HARMLESS),
        refused=tuple(one["reason"] for one in taken if one["state"] in HARMLESS),
    )


def compute_cut_off(rounds: Rounds) -> float:
    """Cut the way of libpq to the node, which answers our probe over HTTP."""
    return _cut_off(rounds, [f"pg-{rounds.node_id}"])


def control_plane_cut_off(rounds: Rounds) -> float:
    """Cut all ways to all nodes, for the control plane as well as for the compute."""
    ways = [f"{kind}-{node}" for node in range(1, NODES + 1) for kind in ("pg", "http")]
    return _cut_off(rounds, ways)


def slow(rounds: Rounds) -> float:
    """Let the node take two seconds for each page."""
    admin = rounds.stack.pageservers[rounds.node_id].admin
    phases = rounds.outage.meet(
        lambda: admin.set_fault("slow", delay_ms=SLOW_MS), during=lambda: time.sleep(TROUBLE_S)
    )
    admin.clear_faults()
    return phases.page


def restarted_on_purpose(rounds: Rounds) -> float:
    """Pause the node's scheduling, and restart it in order."""
    node_id = rounds.node_id
    rounds.stack.controller.set_scheduling(node_id, "Pause")

    def restart() -> None:
        time.sleep(1.0)
        rounds.stack.start_pageserver(node_id)

    phases = rounds.outage.meet(rounds.stack.pageservers[node_id].stop, during=restart)
    rounds.stack.controller.set_scheduling(node_id, "Active")
    rounds.recover(node_id, started=True)
    return phases.page


def compute_stopped(rounds: Rounds) -> float:
    """Stop the compute, daemon and all, while it waits for a page."""
    admin = rounds.stack.pageservers[rounds.node_id].admin
    stopped = [rounds.compute.daemon.pid, *_family(rounds.compute.postgres.pid)]

    def stop() -> None:
        time.sleep(0.1)  # the request is under way
        _signal(stopped, signal.SIGSTOP)
        time.sleep(TROUBLE_S)
        _signal(stopped, signal.SIGCONT)

    phases = rounds.outage.meet(
        lambda: admin.set_fault("slow", delay_ms=SLOW_MS // 4, count=1), during=stop
    )
    return phases.page


BEHIND_PROXY: Final = {
    "compute cut off from the node": compute_cut_off,
    "control plane cut off from all": control_plane_cut_off,
}
ELSE: Final = {
    "node slow by 2 s": slow,
    "node paused and restarted": restarted_on_purpose,
    "compute stopped and continued": compute_stopped,
}


def _cut_off(rounds: Rounds, ways: Iterable[str]) -> float:
    proxy = rounds.stack.proxy

    def cut() -> None:
        for way in ways:
            proxy.strike(way, "refuse")

    def mend() -> None:
        time.sleep(TROUBLE_S)
        for way in ways:
            proxy.clear(way)

    return rounds.outage.meet(cut, during=mend).page


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
