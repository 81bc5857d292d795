"""Whether a verdict may be acted on: the guard rails. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from control_plane.decisions.model import HistoryEvent, StorageNode, VerdictState
from control_plane.decisions.view_state import Moment

NODES_FRESH_S: Final = 5.0
"""A node list older than this is not acted on."""
ACT_EVERY_S: Final = 60.0
"""At most one node in this time."""
OFFLINE_SHARE: Final = 3
"""At most one in so many nodes may be offline, and at least one."""
OTHERS_ASKED: Final = 8
"""Other nodes that are probed to see whether it is we who are cut off."""
INTENT: Final = "intent"
"""Kind of the event that says that a node is about to be declared offline."""
WITHDRAWN: Final = "withdrawn"
"""Kind of the event that says that this was not done."""
TELLING_S: Final = 20.0
"""From an intent to the act: the storage controller may be busy, and is asked again."""
TAKES_SHARDS: Final = frozenset({"Active", "Filling"})
"""Scheduling policies under which a node is given shards."""
PAUSED: Final = frozenset({"Pause", "PauseForRestart"})
"""Set by an operator, or a deployment, that is at work on the node."""


def refusal(
    node_id: int,
    nodes: Sequence[StorageNode],
    *,
    nodes_age_s: float,
    acts_age_s: Sequence[float],
    others_answer: tuple[int, int],
) -> str:
    """Return why the storage controller may not be told that a node is offline, '' if it may.

    *nodes*: the storage controller's list, *nodes_age_s* old. *acts_age_s*: see `acts_age_s`.
    *others_answer*: how many other nodes answer our own probes, and how many were asked.
    """
    node = next((one for one in nodes if one.id == node_id), None)
    if nodes_age_s > NODES_FRESH_S:
        return f"the list of nodes is {nodes_age_s:.0f} s old"
    if node is None:
        return f"node {node_id} is not in the storage controller's list"
    if node.availability != "Active":
        return f"node {node_id} is {node.availability} already"
    if node.scheduling in PAUSED:
        return f"node {node_id} is under {node.scheduling}: perhaps it is restarted on purpose"
    return _budget(node_id, nodes, acts_age_s) or _cut_off(others_answer)


def _budget(node_id: int, nodes: Sequence[StorageNode], acts_age_s: Sequence[float]) -> str:
    last = min(acts_age_s, default=ACT_EVERY_S)
    if last < ACT_EVERY_S:
        return f"a node was declared offline {last:.0f} s ago"
    offline = sum(one.availability == "Offline" for one in nodes)
    allowed = max(1, len(nodes) // OFFLINE_SHARE)
    if offline + 1 > allowed:
        return f"{offline} of {len(nodes)} nodes are offline, {allowed} may be"
    others = [
        one
        for one in nodes
        if one.id != node_id and one.availability == "Active" and one.scheduling in TAKES_SHARDS
    ]
    return "" if others else "no other node takes shards"


def _cut_off(others_answer: tuple[int, int]) -> str:
    answered, asked = others_answer
    if answered and 2 * answered >= asked:
        return ""
    return f"only {answered} of {asked} other nodes answer: perhaps it is we who are cut off"


def acts_age_s(
    history: Iterable[tuple[HistoryEvent, Moment]], now: float, *, node_id: int
) -> list[float]:
    """Return how long ago nodes were declared offline, or may have been, in the last minute.

    *history*: the oldest first, with the moment at which this process has learned of each. From
    then on only the monotonic clock counts, of which *now* is the time: the wall clock may be set.
    An intent is recorded before the storage controller is told, and the verdict after it. Without
    one it is not known what became of it, nor when: the process died. An act of which perhaps
    nothing came does not keep *node_id* itself from another one.
    """
    acts: list[tuple[int | None, float, bool]] = []
    for event, learned in history:
        last = acts[-1][0] if acts else None
        if event.kind == INTENT:
            at = _happened_at(event, learned) + TELLING_S
            acts.append((event.node_id, at, event.node_id != node_id))
        elif event.kind == WITHDRAWN and last == event.node_id:
            acts.pop()
        elif event.verdict is not None and last == event.node_id:
            state = event.verdict.state
            if state in (VerdictState.ACTED, VerdictState.FAILED):
                at = _happened_at(event, learned)
                acts[-1] = (last, at, acts[-1][2] or state is VerdictState.ACTED)
    ages = (max(0.0, now - at) for _, at, counts in acts if counts)
    return [age for age in ages if age < ACT_EVERY_S]


def _happened_at(event: HistoryEvent, learned: Moment) -> float:
    """Return the monotonic time of an event; one of the future has happened just now."""
    return learned.monotonic - max(0.0, (learned.wall - event.at).total_seconds())
