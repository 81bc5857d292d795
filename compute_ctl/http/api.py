"""The listeners, and what the functions of the routes work on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from compute_common.http import api
from compute_ctl.decisions.file_cache import OffloadState, PrewarmState
from compute_ctl.decisions.status import StatusBody
from compute_ctl.http.startup import Startup
from compute_ctl.node import Node
from compute_ctl.settings import Deadlines


class Listener(StrEnum):
    """Where requests come in. Metrics, log fields and the OpenAPI document call it a door."""

    LOOPBACK = "loopback"
    """127.0.0.1 and ::1, open to any local process: refresh requests and reads only."""
    SOCKET = "socket"
    """The unix socket, open to root and the owner of the data directory: all routes."""
    EXTERNAL = "external"
    """All addresses, for callers with a token."""

    @property
    def label(self) -> str:
        """Its name in messages."""
        return {"loopback": "the loopback port", "socket": "the unix socket"}.get(
            self.value, "the external port"
        )


class HttpMetrics(api.RequestMetrics, Protocol):
    """Counts requests and renders all metrics."""

    def exposition(self, status: StatusBody) -> bytes:
        """Return all metrics in the text format 0.0.4."""


class CatalogService(Protocol):
    """The routes that need SQL.

    Every method raises ComputeError on failure, or RequestError to choose the status (404 for a
    database that does not exist).
    """

    async def dbs_and_roles(self) -> Mapping[str, object]:
        """Return `roles` (name, encrypted_password, options: null) and `databases` (name, owner,
        options: null, restrict_conn, invalid), as the reference has them.
        """

    async def insights(self) -> Mapping[str, object]:
        """Return `pg_stat_statements`: a list of its rows."""

    async def check_writability(self) -> None:
        """Write a row; a full disk is not an error."""

    def database_schema(self, database: str) -> AsyncGenerator[bytes, None]:
        """Yield the output of `pg_dump --schema-only`; errors come before the first piece."""

    async def install_extension(self, *, extension: str, database: str, version: str) -> None:
        """Create the extension in *database*, or update it to *version*."""

    async def grant(
        self, *, database: str, schema: str, role: str, privileges: Sequence[str]
    ) -> None:
        """Grant the privileges that *role* does not have yet."""


class FileCacheService(Protocol):
    """The routes of the file cache.

    Every method raises RequestError: 501 where there is no storage or no such functions.
    """

    @property
    def prewarm(self) -> PrewarmState:
        """How far the last prewarm is."""

    @property
    def offload(self) -> OffloadState:
        """How far the last offload is."""

    def require(self) -> None:
        """Check that the document names a storage."""

    async def start_prewarm(self, from_endpoint: str | None = None) -> None:
        """Begin to prewarm; 429 where one is under way, 503 without a server."""

    def cancel_prewarm(self) -> None:
        """End the prewarm under way."""

    async def start_offload(self) -> None:
        """Begin to offload; 429 where one is under way, 503 without a server."""


@dataclass(kw_only=True)
class Api:
    """The objects that the route functions use."""

    node: Node
    metrics: HttpMetrics
    deadlines: Deadlines
    startup: Startup
    catalog: CatalogService | None = None
    """None: the routes that need SQL answer 501."""
    file_cache: FileCacheService | None = None
    """None: its routes answer 501."""
    waiting: int = 0
    """Callers that wait for the outcome of a refresh."""


Call: TypeAlias = api.Call[Api]
"""One request after authentication, with its body read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route(api.Route[Api]):
    """One method of one path."""

    listeners: frozenset[Listener]
    by_worker: bool = False
    """Repeated by the worker in Postgres during an outage, and logged at DEBUG then."""
    opens: bool = False
    """An option of the operator adds it to the loopback listener."""
