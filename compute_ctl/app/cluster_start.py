"""Has the cluster made before the first start of Postgres, and tells the others of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from compute_common.redact import redact
from compute_ctl.bootstrap.maker import ClusterMaker
from compute_ctl.bootstrap.origin import Origin
from compute_ctl.decisions.model import Attempt, RequestOrigin
from compute_ctl.decisions.persistent_state import ClusterIdentity
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.document.generation import Marker
from compute_ctl.errors import PostgresError
from compute_ctl.node import Node
from compute_ctl.node.observer import Observer
from compute_ctl.ports import Clock
from compute_ctl.reconciler.generations import GenerationStore

logger = logging.getLogger(__name__)


class ClusterStart(Observer):
    """Calls the maker; an observer of the node, so that it learns of another document."""

    def __init__(
        self,
        *,
        node: Node,
        maker: ClusterMaker,
        clock: Clock,
        store: GenerationStore,
        identity: Callable[[], ClusterIdentity],
        version: Callable[[], str | None],
        patience_s: float,
    ) -> None:
        """*patience_s*: how long to wait for another document after the maker has given up."""
        self._node = node
        self._maker = maker
        self._clock = clock
        self._store = store
        self._identity = identity
        self._version = version
        self._patience_s = patience_s
        self._done = False
        self._seen: Marker | None = None
        self._helped = asyncio.Event()

    def on_attempt(self, attempt: Attempt) -> None:
        """Notice another document, or an operator who may have mended the cause."""
        marker = self._marker
        if marker != self._seen:
            self._maker.document_changed()
        if marker != self._seen or attempt.who == RequestOrigin.OPERATOR:
            self._helped.set()
        self._seen = marker

    @property
    def _marker(self) -> Marker | None:
        written = self._node.config.written
        return written.marker if written is not None else None

    async def make(self) -> bool:
        """Return whether there is a cluster to start Postgres on.

        It is not when the compute is to end, or when the cluster could not be made and nobody has
        sent another document in time.
        """
        while not self._done and not self._node.terminating:
            self._helped.clear()
            self._seen = self._marker  # the end of the attempt that wrote it is no help
            try:
                await self._unless_ending()
            except PostgresError as error:
                logger.error("%s", error)
                self._add_history("failed")
                self._node.attempts.show_error(str(error))
                if self._node.status is Status.INIT:
                    self._node.move(Event.START_FAILED, str(error))
                if not await self._help_comes():
                    return False
        return self._done

    async def _unless_ending(self) -> None:
        """Make the cluster, or stop where the compute is to end. Raises PostgresError."""
        making = asyncio.create_task(self._maker.make(), name="cluster")
        ending = asyncio.create_task(self._node.terminating_event.wait())
        try:
            await asyncio.wait({making, ending}, return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                await self._made(making.result())
        finally:
            ending.cancel()
            making.cancel()

    async def _made(self, origin: Origin | None) -> None:
        """The directory holds a cluster now; *origin* is None where it did before."""
        self._done = True
        if origin is None:
            return
        node, identity = self._node, self._identity()
        node.server.has_cluster(self._version())
        self._store.identify(identity)
        node.config.restore(identity.stamp(node.config.state), None)
        await self._store.save(node.config.state)
        self._add_history("done")

    def _add_history(self, outcome: str) -> None:
        view = self._node.server.cluster
        if view is None:
            return
        took_ms = (
            view.sync_sk_check_ms + view.sync_safekeepers_ms + view.basebackup_ms + view.install_ms
        )
        entry: dict[str, Any] = msgspec.to_builtins(view)
        entry |= {"kind": "cluster", "outcome": outcome, "duration_ms": round(took_ms, 3)}
        entry |= {"reason": redact(view.summary), "error": redact(view.error or "")}
        entry["started_at"] = msgspec.to_builtins(view.at or self._clock.wall())
        self._store.add_history(entry)

    async def _help_comes(self) -> bool:
        waiters = [
            asyncio.create_task(event.wait())
            for event in (self._helped, self._node.terminating_event)
        ]
        done, _ = await asyncio.wait(
            waiters, timeout=self._patience_s, return_when=asyncio.FIRST_COMPLETED
        )
        for waiter in waiters:
            waiter.cancel()
        if not done:
            logger.error("there is no cluster, and nobody has sent another configuration")
        return bool(done)
