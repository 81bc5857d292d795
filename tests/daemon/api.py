"""A node behind real listeners, for the tests of the HTTP API; only Postgres is a stand-in."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from compute_common.document.spec import ComputeCtlConfig, Jwks
from compute_common.http.limits import ConnectionLimits
from compute_ctl.decisions.model import Attempt, Outcome, Written
from compute_ctl.document.generation import Marker
from compute_ctl.http import HttpServer
from compute_ctl.http.api import Api, CatalogService
from compute_ctl.http.auth import TokenAuthenticator
from compute_ctl.http.startup import Startup
from compute_ctl.monitoring.metrics import Metrics
from compute_ctl.node import Node
from compute_ctl.settings import Settings
from devstack.wait import until
from tests.support.clock import RealClock
from tests.support.fakes import IdlePostgres

DEADLINE_S = 20.0


@dataclass(kw_only=True)
class Reply:
    """A response, read whole."""

    code: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body decoded."""
        return json.loads(self.body)


@dataclass(kw_only=True)
class Served:
    """A node and where its listeners are."""

    node: Node
    postgres: IdlePostgres
    metrics: Metrics
    http: HttpServer
    external_port: int

    @property
    def port(self) -> int:
        """Port of the loopback listener."""
        return self.http.internal_port

    def exposition(self) -> bytes:
        """Return the metrics as they are now."""
        return self.metrics.exposition(self.node.snapshot())

    async def loopback(self, method: str, path: str, **options: Any) -> Reply:
        """Ask at the loopback listener."""
        async with Wire.tcp(self.port) as wire:
            return await wire.ask(method, path, **options)

    async def socket(self, method: str, path: str, **options: Any) -> Reply:
        """Ask at the unix socket."""
        async with Wire.unix(self.http.socket_path) as wire:
            return await wire.ask(method, path, **options)

    async def external(self, method: str, path: str, **options: Any) -> Reply:
        """Ask at the external listener; `token` is sent as the bearer of it."""
        token = options.pop("token", None)
        if token is not None:
            options["headers"] = {"Authorization": f"Bearer {token}"} | options.get("headers", {})
        async with Wire.tcp(self.external_port) as wire:
            return await wire.ask(method, path, **options)

    def trust(self, *jwks: dict[str, Any]) -> None:
        """Make *jwks* the keys of the newest document."""
        config = ComputeCtlConfig(jwks=Jwks(keys=jwks))
        self.node.config.state = msgspec.structs.replace(self.node.config.state, ctl_config=config)

    def wrote(self, generation: int = 1) -> Marker:
        """Make the node await the acknowledgement of a generation."""
        marker = Marker.of(generation=generation, nonce=secrets.token_hex(16), body="x\n")
        self.node.now_written(
            Written(
                marker=marker,
                content_sha256="0" * 64,
                version=None,
                rest="x\n",
                upstream="",
                map_sha256="a" * 64,
                names=frozenset(),
                at=datetime.now(UTC),
            )
        )
        return marker

    def end_attempt(self, outcome: Outcome, reason: str = "") -> None:
        """End an attempt that has taken all requests so far."""
        now = datetime.now(UTC)
        attempt = Attempt(
            number=1,
            who="test",
            started_at=now,
            finished_at=now,
            duration_ms=1.5,
            outcome=outcome,
            reason=reason,
        )
        good = outcome in (Outcome.APPLIED, Outcome.UNCHANGED)
        self.node.requests.take()
        self.node.attempt_ended(attempt, served=self.node.requests.taken, good=good)

    async def requested(self, count: int = 1) -> None:
        """Wait until the node has had *count* refresh requests."""
        await until(f"{count} requests", lambda: self.node.requests.requested >= count)


class Wire:
    """One connection, byte by byte; every wait is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def tcp(cls, port: int, host: str = "127.0.0.1") -> AsyncIterator[Self]:
        """Connect to the loopback listener."""
        async with cls._use(*await asyncio.open_connection(host, port)) as wire:
            yield wire

    @classmethod
    @asynccontextmanager
    async def unix(cls, path: Path) -> AsyncIterator[Self]:
        """Connect to the unix socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        async with cls._use(*await asyncio.open_connection(sock=sock)) as wire:
            yield wire

    @classmethod
    @asynccontextmanager
    async def _use(
        cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncIterator[Self]:
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        json_body: Any = None,
        headers: dict[str, str] | None = None,
        host: str | None = "localhost",
    ) -> Reply:
        """Send a request as given and read its response."""
        fields = {"User-Agent": "test"} | ({"Host": host} if host is not None else {})
        if json_body is not None:
            body = json.dumps(json_body).encode()
            fields["Content-Type"] = "application/json"
        if body is not None:
            fields["Content-Length"] = str(len(body))
        fields |= headers or {}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        self.writer.write("\r\n".join(lines).encode() + (body or b""))
        return await self.reply(head=method == "HEAD")

    async def reply(self, *, head: bool = False) -> Reply:
        """Read a response."""
        async with asyncio.timeout(DEADLINE_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.decode().rstrip().split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            length = 0 if head else int(headers.get("content-length", 0))
            body = await self.reader.readexactly(length)
        return Reply(code=int(first.split()[1]), headers=headers, body=body)

    async def closed(self, within_s: float) -> bool:
        """Return whether the other side closes within *within_s* seconds."""
        try:
            async with asyncio.timeout(within_s):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def _server(
    node: Node,
    metrics: Metrics,
    settings: Settings,
    catalog: CatalogService | None,
    limits: ConnectionLimits | None,
) -> HttpServer:
    startup = Startup()
    node.subscribe(startup)
    api = Api(
        node=node,
        metrics=metrics,
        deadlines=settings.deadlines,
        startup=startup,
        catalog=catalog,
    )
    return HttpServer(
        api=api,
        settings=settings,
        authenticate_external=TokenAuthenticator(node=node, settings=settings),
        limits=limits or ConnectionLimits(),
    )


@asynccontextmanager
async def serve(
    folder: Path,
    *,
    limits: ConnectionLimits | None = None,
    catalog: CatalogService | None = None,
    **changes: Any,
) -> AsyncIterator[Served]:
    """Open the listeners of a new node on a free port, its socket in *folder*."""
    settings = Settings(
        pgdata=folder,
        connstr="host=/nowhere",
        compute_id="test",
        external_http_port=0,
        internal_http_port=0,
        state_dir=folder,
    )
    settings = replace(settings, **changes)
    metrics = Metrics()
    postgres = IdlePostgres()
    node = Node(clock=RealClock(), postgres=postgres)
    node.subscribe(metrics)
    node.restored = True
    http_server = _server(node, metrics, settings, catalog, limits)
    await http_server.start()
    try:
        yield Served(
            node=node,
            postgres=postgres,
            metrics=metrics,
            http=http_server,
            external_port=settings.external_http_port,
        )
    finally:
        await http_server.stop(1.0)
