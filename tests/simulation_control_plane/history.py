"""What must hold, whatever happens: held against everything that the parties say and do."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from control_plane.decisions.evidence import UPHELD_S
from control_plane.decisions.model import ALIVE_S
from control_plane.decisions.verdicts import ACT_EVERY_S, NODES_FRESH_S, OFFLINE_SHARE
from devstack.storage_controller.model import Availability

if TYPE_CHECKING:
    from compute_common.document.document import Document
    from compute_common.http.api import ApiResponse
    from control_plane.decisions.model import NodeList, StorageNode
    from tests.simulation_control_plane.computes import SimCompute
    from tests.simulation_control_plane.controllers import SimController
    from tests.simulation_control_plane.processes import Process
    from tests.simulation_control_plane.topology import Topology

DECIDING_S: Final = 20.0
"""From the evidence to the act: probes, the node list, and up to 10 s while an operation runs."""
JITTER_S: Final = 0.1
REPUBLISHED_S: Final = 3.0
"""From the report of a generation that is ahead to a document above it; it takes some requests."""
Places = tuple[int | None, ...]


class InvariantError(AssertionError):
    """Something that must hold does not."""


class History:
    """The observer of all; `world.fail` ends the run."""

    def __init__(self, world: Topology) -> None:
        self._world = world
        self.checked = 0
        self._served: dict[str, tuple[int, bytes]] = {}
        """By compute: the newest generation anybody was given, and the answer."""
        self._safekeepers: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._told: dict[tuple[Process, str, int], float] = {}
        """When a run of the control plane learned of a generation, by run, compute, generation."""
        self._refusals_are_right = False
        self._heard_at: dict[str, float] = {}
        self._suspected: defaultdict[tuple[Process, int], dict[str, float]] = defaultdict(dict)
        """By life of the control plane and node: when each compute last reported it."""
        self._meant: defaultdict[str, list[tuple[float, SimController, Places]]] = defaultdict(list)
        """By tenant: since when which controller means it to be where."""
        self._lists: defaultdict[Process, list[tuple[StorageNode, ...]]] = defaultdict(list)
        """By life of the control plane: the lists of nodes that the controller has read for it."""
        self._list_taken: defaultdict[Process, int] = defaultdict(int)
        self._acts: list[tuple[float, int]] = []
        self._offline_since: dict[int, float] = {}
        self.answers: defaultdict[int, int] = defaultdict(int)
        """Hooks answered, by status."""

    @property
    def acts(self) -> int:
        """How often a node was declared offline."""
        return len(self._acts)

    # Documents

    def served(self, control: Process, compute_id: str, answer: ApiResponse) -> None:
        """A compute is given a document: its generation never falls, nor do its safekeepers.

        Nor is it below what the control plane was told by the compute, as after a backup.
        """
        if answer.code != 200:
            return
        self.checked += 1
        spec = msgspec.json.decode(answer.body)["spec"]
        generation = spec["generation"]
        known, body = self._served.get(compute_id, (0, b""))
        if generation < known:
            self._fail(f"{compute_id}: generation {generation} is served after {known}")
        if generation == known and body != answer.body:
            self._fail(f"{compute_id}: two documents have generation {generation}")
        self._served[compute_id] = (generation, answer.body)
        self._check_told(control, compute_id, generation)
        self._check_safekeepers(compute_id, spec)

    def took_report(self, control: Process, compute: SimCompute) -> None:
        """The control plane knows with which generation a compute runs."""
        self._told.setdefault((control, compute.name, compute.generation), self._now)

    def _check_told(self, control: Process, compute_id: str, generation: int) -> None:
        """Fail if a document is too old for a compute, as the control plane could have known."""
        life = self._world.lives[control]
        record = life.registry.computes.get(compute_id)
        running = self._world.computes[compute_id].generation
        told_at = self._told.get((control, compute_id, running), self._now)
        busy_until = max(self._world.disk.failed_at, life.client.failed_at)
        if record is None or record.published_at is None or running <= generation:
            return
        if life.reconciler.failures_in_a_row:
            return
        published_s = (self._world.wall() - record.published_at).total_seconds()
        waited_s = min(published_s, self._now - max(told_at, busy_until))
        if waited_s > REPUBLISHED_S:
            self._fail(
                f"{compute_id}: {generation} is served though {running} was reported"
                f" {waited_s:.1f} s ago"
            )

    def _check_safekeepers(self, compute_id: str, spec: dict[str, Any]) -> None:
        new = (spec.get("safekeepers_generation", 0), tuple(spec["safekeeper_connstrings"]))
        old = self._safekeepers.setdefault(compute_id, new)
        if new[0] < old[0]:
            self._fail(f"{compute_id}: safekeepers {new[0]} are served after {old[0]}")
        if new[0] == old[0] and set(new[1]) != set(old[1]):
            self._fail(f"{compute_id}: safekeepers {new[0]} are {old[1]} and {new[1]}")
        self._safekeepers[compute_id] = new

    def applied(self, compute: SimCompute) -> None:
        """A daemon has brought its document into force."""
        self._world.note(f"{compute.name} runs with {compute.generation}: {compute.map}")

    def restored(self) -> None:
        """The store is older than what was served: from now on computes know better."""
        self._served.clear()
        self._safekeepers.clear()
        self._acts.clear()
        self._refusals_are_right = True

    def refused(self, compute: SimCompute, document: Document, reason: str) -> None:
        """A daemon refuses what is published: that must never be needed."""
        self._world.note(f"{compute.name} refuses {document.version}: {reason}")
        if not self._refusals_are_right:
            self._fail(f"{compute.name} refuses {document.version}: {reason}")

    # The list of nodes

    def nodes_read(self, control: Process, nodes: tuple[StorageNode, ...]) -> None:
        """Note the nodes that a controller answers a control plane; the answer may come late."""
        self._lists[control].append(nodes)

    def takes_nodes(self, control: Process, listed: NodeList) -> None:
        """Fail if a control plane takes a list that is older than one it has taken."""
        self.checked += 1
        first = self._list_taken[control]
        for number, nodes in enumerate(self._lists[control][first:], first):
            if nodes == listed.nodes:
                self._list_taken[control] = number
                return
        self._fail("an older list of nodes is taken after a newer one")

    # What is heard

    def heard(self, compute: SimCompute) -> None:
        """The control plane hears of a compute, whatever becomes of it."""
        self._heard_at[compute.name] = self._now

    def reported(self, control: Process, compute_id: str, suspects: frozenset[str]) -> None:
        """A report arrives that suspects these endpoints."""
        if suspects:
            self._world.note(f"{compute_id} reports {sorted(suspects)}")
        for endpoint in suspects:
            self._suspected[control, self._world.node_of[endpoint]][compute_id] = self._now

    def upheld(self, control: Process, compute_id: str, suspects: frozenset[str]) -> None:
        """A compute that suspects these endpoints asks for its document."""
        for endpoint in suspects:
            said = self._suspected[control, self._world.node_of[endpoint]]
            if compute_id in said:
                said[compute_id] = self._now

    # Hooks

    def meant(self, controller: SimController) -> None:
        """A controller means shards to be elsewhere, or has started."""
        for tenant_id in controller.state.tenants:
            self._meant[tenant_id].append((self._now, controller, controller.places(tenant_id)))

    def hook_answered(self, hook: str, body: dict[str, Any], code: int, *, sent_at: float) -> None:
        """After 200 every compute that is alive runs with what was told, or with newer."""
        self.answers[code] += 1
        self._world.note(f"{hook} {_told(body)} -> {code}")
        if code != 200:
            return
        self.checked += 1
        for compute in self._world.computes.values():
            last = self._heard_at.get(compute.name, -ALIVE_S)
            alive = compute.up and self._now - last < ALIVE_S - JITTER_S
            concerned = compute.tenant_id == body["tenant_id"] and compute.disk.applied is not None
            known = compute.name in self._world.control.registry.computes  # or it was deleted
            if not (alive and concerned and known):
                continue
            if hook == "notify-attach":
                self._check_map(compute, body, sent_at)
            elif compute.safekeepers_generation < body["generation"]:
                self._fail(
                    f"200 for safekeepers {body['generation']}, but {compute.name} runs with"
                    f" {compute.safekeepers_generation}"
                )

    def _check_map(self, compute: SimCompute, body: dict[str, Any], sent_at: float) -> None:
        told: Places = tuple(it["node_id"] for it in body["shards"])
        running: Places = tuple(self._world.node_of[it] for it in compute.map)
        allowed = {told} | self._meant_since(compute.tenant_id, sent_at)
        if running not in allowed:
            self._fail(f"200 for {told}, but {compute.name} runs with {running}, not {allowed}")

    def _meant_since(self, tenant_id: str, since: float) -> set[Places]:
        """Return each place that a running controller intended for the tenant since *since*."""
        found: dict[SimController, tuple[float, Places]] = {}
        allowed: set[Places] = set()
        for at, controller, places in self._meant[tenant_id]:
            if at > since:
                allowed.add(places)
            else:
                found[controller] = (at, places)
        for controller, (_, places) in found.items():
            if controller.up or self._world.died_at.get(controller, 0.0) >= since:
                allowed.add(places)
        return allowed

    # Verdicts

    def declared_offline(self, control: Process, node_id: int) -> None:
        """The control plane tells a controller that a node is offline."""
        self.checked += 1
        self._world.note(f"! node {node_id} is declared offline")
        self._check_probes(control, node_id)
        self._check_quorum(control, node_id)
        self._check_budget(node_id)
        self._acts.append((self._now, node_id))

    def _check_probes(self, control: Process, node_id: int) -> None:
        prober = self._world.lives[control].prober
        last = [(at, failure) for at, node, failure in prober.seen if node == node_id][-2:]
        if len(last) < 2 or not all(failure for _, failure in last):
            self._fail(f"a verdict on node {node_id} without two failed probes: {last}")
        elif self._now - last[0][0] > DECIDING_S:
            self._fail(
                f"a verdict on node {node_id} after probes {self._now - last[0][0]:.0f} s ago"
            )

    def _check_quorum(self, control: Process, node_id: int) -> None:
        registry = self._world.lives[control].registry
        since = self._now - UPHELD_S - DECIDING_S
        said = {it for it, at in self._suspected[control, node_id].items() if at >= since}
        users = set()
        for record in registry.computes.values():
            tenant = registry.tenants.get(record.tenant_id or "")
            placed = tenant.placement.nodes if tenant and tenant.placement else ()
            lately = self._now - self._heard_at.get(record.id, -ALIVE_S) <= ALIVE_S - DECIDING_S
            if node_id in placed and lately:
                users.add(record.id)
        if len(said) < max(1, min(self._world.quorum, len(users))):
            by = f"{sorted(said)} of {sorted(users)}, {self._world.quorum} needed"
            self._fail(f"a verdict on node {node_id} by {by}")

    def _check_budget(self, node_id: int) -> None:
        for at, other in self._acts[-1:]:
            if other != node_id and self._now - at < ACT_EVERY_S - JITTER_S:
                self._fail(f"nodes {other} and {node_id} within {self._now - at:.1f} s")
        nodes = self._world.leader.state.nodes
        offline = {
            it.id
            for it in nodes.values()
            if it.availability is Availability.OFFLINE
            and self._now - self._offline_since.get(it.id, self._now) > NODES_FRESH_S + 2.0
        }
        if len(offline | {node_id}) > max(1, len(nodes) // OFFLINE_SHARE):
            self._fail(f"node {node_id} is declared offline while {offline} are, of {len(nodes)}")

    def look(self) -> None:
        """Note since when nodes are offline; called when one changes."""
        for node in self._world.leader.state.nodes.values():
            if node.availability is not Availability.OFFLINE:
                self._offline_since.pop(node.id, None)
            elif node.id not in self._offline_since:
                self._offline_since[node.id] = self._now

    @property
    def _now(self) -> float:
        return self._world.loop.now

    def _fail(self, reason: str) -> None:
        self._world.fail(reason)


def _told(body: dict[str, Any]) -> str:
    if "shards" in body:
        return f"{body['tenant_id'][:4]} {[it['node_id'] for it in body['shards']]}"
    return f"{body['tenant_id'][:4]} generation {body['generation']}"
