"""A control plane in this process with a large fleet and its trouble, for a browser to look at."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from control_plane.decisions.model import (
    NodeList,
    PendingHook,
    Placement,
    PlacementSource,
    Report,
    ReportedDocument,
    Suspicion,
    Verdict,
    VerdictState,
)
from control_plane.decisions.views import ServiceView
from control_plane.fleet.registry import Registry
from control_plane.http.api import Listener
from control_plane.settings import ListenAddress
from tests.unit.control_plane.http.public_door import Door, document, node, public_door

DEAD = 2
"""The node that is down."""
DOWN = 12
"""Computes."""
LAGGARDS = ("billing-us-7", "search-eu-2", "shop-us-6")
REASON = 'setting "work_mem": invalid value for parameter: "banana"'
SERVICE = ServiceView(
    version="1.3",
    store="/var/lib/compute_control_plane/state.db",
    storage_controller="http://storage-controller:1234",
    evidence="act",
)
NAMES = ("api", "billing", "mail", "search", "shop")


def tenant(number: int) -> str:
    """Tenant *number* of 9; node 1 to 3 serve 3 each."""
    return f"{0x9F3C1D5E + number:08x}7a804b26a1c4e85d02f7b369"


@dataclass
class LargeFleet:
    """The control plane, and where its page is."""

    door: Door
    page: str

    @property
    def registry(self) -> Registry:
        """All that it knows."""
        return self.door.parts.registry

    def says(self, name: str, *suspicions: Suspicion, behind: int = 0, **more: Any) -> None:
        """A compute reports that it runs with what is published, or with what was *behind* it."""
        record = self.registry.computes[name]
        wanted = ReportedDocument(generation=record.generation, hash=record.content_sha256)
        applied = ReportedDocument(
            generation=record.generation - behind,
            hash=record.content_sha256 if not behind else "0" * 64,
            proof="full",
        )
        said = Report(
            daemon="compute_ctl",
            version="1.3",
            status="running",
            desired=wanted,
            applied=applied,
            outcome=more.get("outcome", "applied"),
            reason=more.get("reason", ""),
            suspicions=suspicions,
        )
        self.registry.presence.reported(name, said)


def suspicion() -> Suspicion:
    """That the dead node refuses connections."""
    dead = node(DEAD)
    return Suspicion(
        source="pageserver",
        shard=0,
        endpoint=dead.pg_endpoint,
        trouble="dead",
        text="could not connect to server: Connection refused",
        since=datetime.now(UTC) - timedelta(seconds=4),
        count=3,
    )


@asynccontextmanager
async def large_fleet(folder: Path, size: int = 1000) -> AsyncIterator[LargeFleet]:
    """Serve a fleet of *size* with 3 laggards and a dead node."""
    async with public_door(folder, page_listen=ListenAddress("127.0.0.1", 0)) as door:
        door.parts.api.service = SERVICE
        fleet = LargeFleet(door, f"http://127.0.0.1:{door.server.ports[Listener.PAGE]}")
        registry = fleet.registry
        registry.started_at -= 3 * 86400
        await registry.set_nodes(NodeList(nodes=tuple(node(number) for number in (1, 2, 3))))
        for number in range(9):
            placement = Placement(nodes=(number % 3 + 1,))
            door.controller.placements[tenant(number)] = placement
        names = [f"{NAMES[one % 5]}-{'eu' if one % 2 else 'us'}-{one // 5}" for one in range(size)]
        assert set(LAGGARDS) <= set(names)
        await _publish(fleet, names)
        await _trouble(fleet, names)
        with ExitStack() as held:  # by all that are alive
            for name in names[:-DOWN]:
                held.enter_context(registry.presence.asked(name))
            yield fleet


async def _publish(fleet: LargeFleet, names: list[str]) -> None:
    """Put all documents, and let each compute report that it runs with it."""
    registry = fleet.registry
    for at, name in enumerate(names):
        await registry.put(name, document(tenant_id=tenant(at % 9)))
    for number in range(9):
        placement = fleet.door.controller.placements[tenant(number)]
        await registry.place(tenant(number), placement, PlacementSource.LOCATE)
    for name in names[:-DOWN]:
        fleet.says(name)


async def _trouble(fleet: LargeFleet, names: list[str]) -> None:
    """The node dies, is suspected and judged; three computes do not run with what is published."""
    registry = fleet.registry
    for name in LAGGARDS:
        await registry.set_settings(name, {"work_mem": "64MB"})
    fleet.says(LAGGARDS[0], behind=1, outcome="rejected", reason=REASON)
    fleet.says(LAGGARDS[1], behind=1)
    fleet.says(LAGGARDS[2], suspicion(), behind=1)
    users = [name for at, name in enumerate(names) if at % 3 == DEAD - 1 and name not in LAGGARDS]
    suspects = sorted(users)[:7]
    for name in suspects:
        fleet.says(name, suspicion())
    dead = replace(node(DEAD), availability="Offline")
    await registry.set_nodes(NodeList(nodes=(node(1), dead, node(3))))
    verdict = Verdict(
        node_id=DEAD,
        at=datetime.now(UTC) - timedelta(seconds=2),
        suspected_by=tuple(suspects),
        users=len(users),
        probes=(
            "port 6402: connection refused; /v1/status: connection refused",
            "port 6402: connection refused; /v1/status: connection refused",
        ),
        state=VerdictState.ACTED,
    )
    text = f"node {DEAD} is down: suspected by {len(suspects)} of {len(users)}; told the controller"
    await registry.events.record("verdict", text, node_id=DEAD, verdict=verdict)
    registry.pending_hooks[0] = PendingHook(
        kind="notify-attach",
        tenant_id=tenant(1),
        since=fleet.door.parts.api.clock.monotonic() - 1.4,
        waits_for=(LAGGARDS[2],),
    )
