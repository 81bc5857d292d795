"""The state of the registry at one moment, and the computes in it as they are shown. Pure.

One pass finds conditions, users of nodes and suspicions; rows are made only of what is shown, so
that 10,000 computes cost little.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

from compute_common.redact import redact
from control_plane.decisions import fleet
from control_plane.decisions.addresses import bare, safekeeper_address
from control_plane.decisions.fleet import Condition
from control_plane.decisions.model import (
    ComputeRecord,
    Heard,
    NodeList,
    StorageNode,
    Suspicion,
)
from control_plane.decisions.view_state import FleetState, Moment
from control_plane.decisions.views import ComputeRow, ComputesView

BEHIND: Final = frozenset({Condition.REFUSED, Condition.APPLYING, Condition.INCOMPLETE})
"""What somebody may have to look at; a silent compute is down, and pulls when it is back."""
FIRST_LAGGARDS: Final = 25
FIRST_COMPUTES: Final = 50
NEVER: Final = Heard()


@dataclass(kw_only=True)
class Suspects:
    """What is said of one endpoint."""

    by: dict[str, None] = field(default_factory=dict)
    troubles: dict[str, None] = field(default_factory=dict)
    since: datetime | None = None

    def add(self, compute_id: str, suspicion: Suspicion) -> None:
        """Add what a compute says."""
        self.by[compute_id] = None
        self.troubles[redact(suspicion.trouble)] = None
        if suspicion.since and (self.since is None or suspicion.since < self.since):
            self.since = suspicion.since


@dataclass(kw_only=True)
class Sweep:
    """What one pass over all computes has found."""

    conditions: dict[str, Condition] = field(default_factory=dict)
    users: Counter[int] = field(default_factory=Counter)
    """By node: computes alive that use it."""
    suspects: dict[int | str, Suspects] = field(default_factory=lambda: defaultdict(Suspects))
    """By node; by what the report names where that is no node's."""
    held: int = 0
    """Requests."""


class Overview:
    """The state at one moment. All computes are looked at only where what is asked needs it."""

    def __init__(self, state: FleetState, now: Moment) -> None:
        self.state = state
        self.now = now

    @cached_property
    def by_endpoint(self) -> dict[str, StorageNode]:
        """The nodes, as reports name them."""
        return nodes_by_endpoint(self.state.nodes)

    @cached_property
    def sweep(self) -> Sweep:
        """What all computes say."""
        sweep, alive = Sweep(), Counter[str | None]()
        for compute_id, record in self.state.computes.items():
            heard = self.state.heard.get(compute_id, NEVER)
            found = sweep.conditions[compute_id] = self._condition(record, heard)
            sweep.held += heard.holds
            if found is Condition.SILENT:
                continue
            if found is not Condition.INCOMPLETE or fleet.alive(heard, self.now.monotonic):
                alive[record.tenant_id] += 1
                for suspicion in heard.report.suspicions if heard.report else ():
                    named = suspicion.endpoint or suspicion.source
                    node = self.by_endpoint.get(named)
                    sweep.suspects[node.id if node else named].add(compute_id, suspicion)
        for tenant_id, tenant in self.state.tenants.items():
            for node_id in set(tenant.placement.nodes) if tenant.placement else ():
                sweep.users[node_id] += alive[tenant_id]
        return sweep

    @cached_property
    def _doubtful(self) -> frozenset[str]:
        return perhaps_incomplete(self.state)

    def _condition(self, record: ComputeRecord, heard: Heard) -> Condition:
        doubtful = record.tenant_id in self._doubtful
        incomplete = self.state.incomplete(record.id) if doubtful else ""
        return fleet.condition(record, heard, self.now.monotonic, incomplete=incomplete)

    def row(self, compute_id: str) -> ComputeRow:
        """Return the row of a compute. Raises KeyError."""
        record = self.state.computes[compute_id]
        heard = self.state.heard.get(compute_id, NEVER)
        found = self._condition(record, heard)
        monotonic = fleet.heard_at(heard, self.now.monotonic)
        at = None if monotonic is None else self.now.at(monotonic)
        applied = heard.report.applied if heard.report else None
        generation = applied.generation if applied else None
        return ComputeRow(
            id=compute_id,
            condition=found,
            since=at if found is Condition.SILENT else behind_since(record, found),
            why=redact(self._why(record, heard, found)),
            tenant_id=record.tenant_id,
            published=record.generation,
            applied=heard.pushed_generation or None if generation is None else generation,
            heard_at=at,
        )

    def behind(self) -> list[str]:
        """Return the names of the computes behind, longest first."""
        names = (one for one, found in self.sweep.conditions.items() if found in BEHIND)
        return sorted(names, key=self._order)

    def _order(self, compute_id: str) -> tuple[bool, datetime, str]:
        since = self.state.computes[compute_id].published_at
        return since is None, since or self.now.wall, compute_id

    def laggards(self, first: int = FIRST_LAGGARDS) -> ComputesView:
        """Return the computes behind, longest first."""
        names = self.behind()
        rows = tuple(map(self.row, names[:first]))
        return ComputesView(at=self.now.wall, total=len(names), computes=rows)

    def search(
        self, query: str = "", wanted: Condition | None = None, *, first: int = FIRST_COMPUTES
    ) -> ComputesView:
        """Return the computes with *query* in their name, or of that tenant; behind first."""
        conditions = self.sweep.conditions
        names = [
            one
            for one, record in self.state.computes.items()
            if (wanted is None or conditions[one] is wanted)
            and (query in one or query == record.tenant_id)
        ]
        names.sort(key=lambda one: (conditions[one] not in BEHIND, one))
        return ComputesView(
            at=self.now.wall,
            query=query,
            condition=wanted,
            total=len(names),
            computes=tuple(map(self.row, names[:first])),
        )

    def _why(self, record: ComputeRecord, heard: Heard, found: Condition) -> str:
        if found is Condition.INCOMPLETE:
            return self.state.incomplete(record.id) or "nothing is published yet"
        if found is Condition.SILENT:
            never = fleet.heard_at(heard, self.now.monotonic) is None
            return "nothing was heard of it since the control plane started" if never else ""
        behind = fleet.laggards([(record, heard)], now=self.now.monotonic, blind_until=0.0)
        return behind[0].reason if behind else ""


def perhaps_incomplete(state: FleetState) -> frozenset[str]:
    """Return the tenants that name a node or a safekeeper whose address is not known."""
    listed = {node.id for node in state.nodes.nodes}
    return frozenset(
        tenant_id
        for tenant_id, tenant in state.tenants.items()
        if (tenant.placement is not None and not listed.issuperset(tenant.placement.nodes))
        or any(
            safekeeper_address(keeper, state.nodes) is None
            for known in tenant.safekeepers.values()
            for keeper in known.safekeepers
        )
    )


def behind_since(record: ComputeRecord, found: Condition) -> datetime | None:
    """Return when what a compute does not run with was published."""
    return record.published_at if found in BEHIND else None


def nodes_by_endpoint(nodes: NodeList) -> dict[str, StorageNode]:
    """Return the nodes by ``host:port``, in each way in which a report may write it."""
    return {
        endpoint: node
        for node in nodes.nodes
        for endpoint in (
            node.pg_endpoint,
            f"{bare(node.listen_pg_addr)}:{node.listen_pg_port}",
            f"[{bare(node.listen_pg_addr)}]:{node.listen_pg_port}",
        )
    }
