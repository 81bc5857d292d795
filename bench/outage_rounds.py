"""Outages of one compute whose storage controller, pageservers and control plane are all real.

A round: the node that has the tenant gets into trouble, a query meets it and gets its page from
another node. Between rounds all is well again. Before a round that is to end in a verdict the
control plane begins anew, with an empty store: it acts once a minute, also over a restart.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from devstack.compute import TENANT
from devstack.outage import Outage, Phases
from devstack.postgres import Template
from devstack.stack import ComputeNode, Stack, operator_text

NODES: Final = 3
DOUBLED_MS: Final = 100
"""A copy of a hook follows its answer by so much."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the rounds are played on."""

    act: bool
    """Else the control plane only observes."""
    attach_s: float
    """What a pageserver needs to attach a shard of which it has no copy."""
    suspect_after_s: float
    """`neon_refresh.response_suspect_after`."""
    warm: bool = False
    """Each shard has a copy on another node."""
    proxied: bool = False
    """All nodes are reached by a proxy."""
    heartbeat_s: float = 5.0
    offline_after_s: float = 30.0


class Rounds:
    """Plays rounds; use it as a context manager."""

    def __init__(self, template: Template, folder: Path, site: Site) -> None:
        self._site = site
        self.stack = Stack(
            template,
            folder,
            nodes=NODES,
            heartbeat_interval=site.heartbeat_s,
            offline_after=site.offline_after_s,
            attach_seconds=site.attach_s,
            secondaries=1 if site.warm else 0,
            settings={"neon_refresh.response_suspect_after": f"{site.suspect_after_s * 1000:g}ms"},
            proxied=site.proxied,
            options=["--evidence", "act" if site.act else "observe", "--log-level", "warning"],
        )
        self.compute: ComputeNode
        self.outage: Outage

    def __enter__(self) -> Self:
        self.stack.__enter__()
        try:
            self.compute = self.stack.add_compute("one")
            self.outage = Outage(self.stack, self.compute)
            self.outage.wait_quiet()
        except BaseException:
            self.stack.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.outage.close()
        self.stack.__exit__(kind, error, trace)

    @property
    def node_id(self) -> int:
        """The node that has the tenant."""
        return self.stack.controller.located(TENANT)[0]

    # Troubles

    def killed(self, *, by_hand: bool = False, hook: str | None = None) -> Phases:
        """Kill the node. *by_hand*: tell the controller at once; *hook*: what befalls its hook."""
        node_id = self._begin(by_hand=by_hand)
        if hook is not None:
            self._spoil(hook)
        phases = self.outage.meet(lambda: self._end(node_id, signal.SIGKILL, by_hand=by_hand))
        if hook == "reordered":
            self._overtake(node_id)
        self.recover(node_id)
        return phases

    def stopped(self, *, by_hand: bool = False) -> Phases:
        """Stop the node's process: its connections stay open and silent."""
        node_id = self._begin(by_hand=by_hand)
        phases = self.outage.meet(lambda: self._end(node_id, signal.SIGSTOP, by_hand=by_hand))
        self.recover(node_id)
        return phases

    def started_again(self, *, after_s: float = 1.0) -> Phases:
        """Kill the node and start it again."""
        node_id = self._begin(by_hand=False)

        def start() -> None:
            time.sleep(after_s)  # as long as whoever starts it needs to see that it is dead
            self.stack.pageservers[node_id].kill()  # it is dead: this only reaps it
            self.stack.start_pageserver(node_id)

        phases = self.outage.meet(
            lambda: self._end(node_id, signal.SIGKILL, by_hand=False), during=start
        )
        self.recover(node_id, started=True)
        return phases

    def stale(self) -> Phases:
        """Move the tenant, and let nobody hear of it; then ask its old node."""
        origin = self.node_id
        self._spoil("lost")
        self._migrate(self._other(origin))
        phases = self.outage.meet(lambda: None)
        self.recover(origin, started=True)
        return phases

    # Between them

    def _begin(self, *, by_hand: bool) -> int:
        """Return the node that has the tenant; the control plane remembers no verdict."""
        if self._site.act and not by_hand:
            self.renew_control_plane()
        return self.node_id

    def _spoil(self, kind: str) -> None:
        delay = DOUBLED_MS if kind == "doubled" else None
        self.stack.controller.admin.set_fault(kind, hook="notify-attach", count=1, delay_ms=delay)

    def _overtake(self, dead: int) -> None:
        """Send the hook that was held back, after a newer one."""
        self._migrate(self._other(dead, self.node_id))

    def _other(self, *taken: int) -> int:
        return next(one for one in self.stack.pageservers if one not in taken)

    def _migrate(self, node_id: int) -> None:
        admin = self.stack.controller.admin
        mark = admin.mark()
        admin.migrate(TENANT, node_id)
        admin.wait_event("migration_ended", since=mark, node=node_id)

    def _end(self, node_id: int, number: signal.Signals, *, by_hand: bool) -> None:
        os.kill(self.stack.pageservers[node_id].child.pid, number)
        if by_hand and self.stack.controller.set_offline(node_id) != 200:
            raise RuntimeError(f"the storage controller does not take node {node_id} offline")

    def recover(self, node_id: int, *, started: bool = False) -> None:
        """Make all well again, and check that the compute has the map that it should have."""
        if not started:
            self.stack.pageservers[node_id].kill()
            self.stack.start_pageserver(node_id)
        self.stack.controller.set_active(node_id)
        self.outage.wait_quiet()
        shown = self.compute.setting("neon.pageserver_connstring")
        if shown != self.stack.server(self.node_id):
            raise RuntimeError(f"the compute reads from {shown}, not from node {self.node_id}")

    def renew_control_plane(self) -> None:
        """Forget earlier verdicts; return when the compute runs with what is published anew."""
        control_plane = self.stack.control_plane
        control_plane.kill()
        for file in self.stack.folder.glob("state.db*"):
            file.unlink()
        control_plane.start()
        control_plane.put(self.compute.name, operator_text())

        def in_sync(found: dict[str, Any]) -> bool:
            return [row["condition"] for row in found["computes"]] == ["in_sync"]

        control_plane.wait("the compute to follow", "/v1/computes", in_sync, 30.0)
        self.outage.wait_quiet()


def play(count: int, kinds: Mapping[str, Callable[[], Phases]]) -> dict[str, list[Phases]]:
    """Play *count* rounds of each kind in turns; return those of each."""
    rounds: dict[str, list[Phases]] = {name: [] for name in kinds}
    for _ in range(count):
        for name, kind in kinds.items():
            rounds[name].append(kind())
    return rounds
