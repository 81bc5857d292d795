"""What the computes hold against nodes of the storage. Pure but for its own memory.

A suspicion is dead or silent: evidence against the node that the endpoint belongs to. Wrong says
that the map of the compute is stale, and nothing against the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from math import inf
from typing import Final

from msgspec import Struct

from control_plane.decisions.addresses import bare
from control_plane.decisions.model import NodeList, Suspicion

EVIDENCE_S: Final = 5.0
"""A suspicion counts for so long after the report."""
UPHELD_S: Final = 15.0
"""And for so long after each later request: while its trouble lasts, `compute_ctl` comes to ask
every 10 s (see `compute_ctl.decisions.pacing`)."""
AGAINST_NODE: Final = frozenset({"dead", "silent"})
PAGESERVER: Final = "pageserver"


class NodeEvidence(Struct, frozen=True, kw_only=True):
    """A node that a quorum suspects."""

    node_id: int
    suspected_by: frozenset[str]
    """Ids of computes that are alive and use it."""
    users: frozenset[str]
    """All computes alive that use it."""


class _Said(Struct, frozen=True, kw_only=True):
    at: float
    nodes: frozenset[int]


class Evidence:
    """What each compute said last."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def report(
        self, compute_id: str, suspicions: Iterable[Suspicion], nodes: NodeList, now: float
    ) -> None:
        """Take what a compute suspects, at monotonic time *now*, in place of what it said before.

        An endpoint that is none of a node's counts for nothing.
        """
        endpoints = {
            suspicion.endpoint
            for suspicion in suspicions
            if suspicion.endpoint
            and suspicion.trouble in AGAINST_NODE
            and suspicion.source == PAGESERVER
        }
        suspected = frozenset(
            node.id
            for node in nodes.nodes
            if endpoints and _names(node.listen_pg_addr, node.listen_pg_port) & endpoints
        )
        if suspected:
            self._said[compute_id] = _Said(at=now, nodes=suspected)
        else:
            self.forget(compute_id)

    def forget(self, compute_id: str) -> None:
        """Drop what a compute said."""
        self._said.pop(compute_id, None)

    def any(self, now: float, upheld: Mapping[str, float] | None = None) -> bool:
        """Whether anything counts; see `suspected_nodes`."""
        return bool(self._counting(now, upheld or {}))

    def suspected_nodes(
        self,
        users: Mapping[int, Set[str]],
        *,
        quorum: int,
        now: float,
        upheld: Mapping[str, float] | None = None,
    ) -> list[NodeEvidence]:
        """Return the nodes that at least *quorum* of their users suspect, or all if fewer use it.

        *users*: by node, the computes alive that use it. *upheld*: by compute, the monotonic time
        at which it last asked for its document: while the trouble lasts it goes on asking, and
        reports only once. What it has not taken back until then, it upholds.
        """
        counting = self._counting(now, upheld or {})
        found = []
        for node_id in sorted({node for said in counting.values() for node in said.nodes}):
            using = frozenset(users.get(node_id, ()))
            suspecting = frozenset(one for one in using if node_id in _nodes(counting.get(one)))
            if suspecting and len(suspecting) >= min(max(quorum, 1), len(using)):
                found.append(NodeEvidence(node_id=node_id, suspected_by=suspecting, users=using))
        return found

    def _counting(self, now: float, upheld: Mapping[str, float]) -> dict[str, _Said]:
        return {
            compute_id: said
            for compute_id, said in self._said.items()
            if now - said.at <= EVIDENCE_S
            or said.at <= upheld.get(compute_id, -inf) >= now - UPHELD_S
        }


def _nodes(said: _Said | None) -> frozenset[int]:
    return said.nodes if said is not None else frozenset()


def _names(host: str, port: int) -> frozenset[str]:
    """Return the ways in which ``host:port`` is written, with and without brackets."""
    return frozenset({f"{bare(host)}:{port}", f"[{bare(host)}]:{port}"})
