"""A catalog reconciler on a real server, with the node that tells it what is proven."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from compute_common.document.document import Document, decode_document
from compute_ctl.catalog import CatalogReconciler
from compute_ctl.catalog.overrides import SizeLimitOverride, SubscriberOverride
from compute_ctl.catalog.runner import CatalogRunner
from compute_ctl.decisions.model import Desired, Written
from compute_ctl.decisions.persistent_state import PersistentState
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.document.generation import Marker
from compute_ctl.node import Node
from compute_ctl.ports import CatalogResult
from compute_ctl.postgres import Attached
from devstack.postgres import Postgres
from tests.support.clock import RealClock


def document(*roles: str, settings: dict[str, str] | None = None, **spec: Any) -> Document:
    """A document that wants *roles*."""
    cluster = {
        "roles": [{"name": name} for name in roles],
        "settings": [{"name": name, "value": value} for name, value in (settings or {}).items()],
    }
    return decode_document(msgspec.json.encode({"spec": {"cluster": cluster, **spec}}))


@dataclass
class CatalogFixture:
    """A reconciler on a real server, with the node that tells it what is proven."""

    node: Node
    reconciler: CatalogReconciler
    server: Postgres
    saved: list[PersistentState] = field(default_factory=list)

    def desire(self, target: Document) -> None:
        """Make *target* what is desired."""
        self.node.config.desired = Desired(
            content_sha256=target.content_sha256,
            version=None,
            at=self.node.start_time,
            source="test",
        )

    def prove(self, target: Document) -> None:
        """Have Postgres prove the configuration of *target*."""
        self.node.now_written(
            Written(
                marker=Marker.of(generation=1, nonce="a" * 32, body=""),
                rest="",
                upstream="",
                at=self.node.start_time,
                content_sha256=target.content_sha256,
            )
        )
        self.node.config.state = msgspec.structs.replace(self.node.config.state, applied=None)
        self.node.proved(Verdict(proof=Proof.FULL))
        self.reconciler.wake()

    async def apply(self, target: Document, *, force: bool = False) -> CatalogResult:
        """Desire, prove, and wait for the catalog."""
        self.desire(target)
        self.prove(target)
        return await asyncio.wait_for(self.reconciler.request(target, force=force), 20)

    def roles(self) -> set[str]:
        """All roles."""
        return {name for (name,) in self.server.query("SELECT rolname FROM pg_roles")}


@asynccontextmanager
async def staged(
    server: Postgres, *, always: bool = False, deadline_s: float = 300.0, retry_max_s: float = 300.0
) -> AsyncIterator[CatalogFixture]:
    """A reconciler at work."""
    postgres, clock = Attached(server.data), RealClock()
    node = Node(clock=clock, postgres=postgres)
    saved: list[PersistentState] = []

    async def save() -> None:
        saved.append(node.config.state)

    size_limit = SizeLimitOverride(Path(server.data), reload=postgres.reload)
    runner = CatalogRunner(
        node=node,
        clock=clock,
        connstr=server.dsn(),
        save=save,
        size_limit=size_limit,
        privileged="neon_superuser",
        may_replicate=True,
        deadline_s=deadline_s,
    )
    made = CatalogReconciler(
        node=node,
        postgres=postgres,
        clock=clock,
        runner=runner,
        size_limit=size_limit,
        subscribers=SubscriberOverride(Path(server.data), reload=postgres.reload),
        always=always,
        retry_max_s=retry_max_s,
    )
    task = asyncio.create_task(made.run())
    try:
        yield CatalogFixture(node, made, server, saved)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
