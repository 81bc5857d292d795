"""Calls to pageservers' HTTP port."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

from devstack.storage_controller import heartbeats
from devstack.storage_controller.faults import FaultBook
from devstack.storage_controller.model import Location, Mode, Node, Shard, Tenant

CONFIG_DEADLINE_SECONDS = 10.0
T = TypeVar("T")


class PageserverError(Exception):
    """A pageserver did not do what it was asked, or nobody knows whether it did."""


class Pageservers:
    """The client; `start` first.

    `heartbeat_deadline`: seconds for one try. `scale` multiplies the pauses between tries.
    """

    def __init__(
        self, faults: FaultBook, *, token: str | None, heartbeat_deadline: float, scale: float
    ) -> None:
        self._faults = faults
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._heartbeat_deadline = heartbeat_deadline
        self._scale = scale
        self._session: aiohttp.ClientSession

    async def start(self) -> None:
        """Open the session. Each request has a connection of its own: nodes come and go."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def heartbeat(self, node: Node) -> bool:
        """Whether the node answers one of several tries."""

        async def ask() -> None:
            await self._call(node, "GET", "/v1/status", deadline=self._heartbeat_deadline)

        try:
            await self._retrying(ask)
        except PageserverError:
            return False
        return True

    async def locations(self, node: Node) -> dict[str, Location]:
        """All tenant shards of a node. Raises PageserverError."""
        found = await self._retrying(lambda: self._call(node, "GET", "/v1/location_config"))
        return {name: _location(body) for name, body in found["tenant_shards"]}

    async def location(self, node: Node, shard: Shard) -> Location | None:
        """One tenant shard of a node; None where it is not there. Raises PageserverError."""
        body = await self._call(node, "GET", f"/v1/location_config/{shard.id}")
        return None if body is None else _location(body)

    async def put(self, node: Node, tenant: Tenant, shard: Shard, location: Location) -> None:
        """Tell a node what to hold; with retries while it counts as available.

        Raises PageserverError.
        """
        warm = {"warm": True} if location.mode is Mode.SECONDARY else None
        body = {
            "mode": location.mode.value,
            "generation": location.generation,
            "secondary_conf": warm,
            "shard_number": shard.number,
            "shard_count": shard.count,
            "shard_stripe_size": tenant.stripe_size,
            "tenant_conf": {},
        }
        path = f"/v1/tenant/{shard.id}/location_config"

        async def ask() -> None:
            if not node.available:
                raise PageserverError(f"node {node.id} is offline")
            await self._call(node, "PUT", path, body)

        await self._retrying(ask)

    async def _retrying(self, ask: Callable[[], Awaitable[T]]) -> T:
        for pause in heartbeats.PAUSES:
            try:
                return await ask()
            except PageserverError:
                await asyncio.sleep(pause * self._scale)
        return await ask()

    async def _call(
        self,
        node: Node,
        method: str,
        path: str,
        body: Any = None,
        *,
        deadline: float = CONFIG_DEADLINE_SECONDS,
    ) -> Any:
        """The decoded answer; None for 404."""
        if self._faults.cut_off("cut_off_nodes"):
            raise PageserverError("cut off by order")
        url = f"http://{node.listen_http_addr}:{node.listen_http_port}{path}"
        timeout = aiohttp.ClientTimeout(total=deadline)
        try:
            async with self._session.request(method, url, json=body, timeout=timeout) as response:
                if response.status == 404:
                    return None
                if response.status >= 400:
                    raise PageserverError(f"{response.status}: {(await response.text())[:200]}")
                return await response.json()
        except TimeoutError as error:
            raise PageserverError(f"no answer within {timeout.total:g} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise PageserverError(f"{type(error).__name__}: {error}") from error


def _location(body: dict[str, Any]) -> Location:
    return Location(mode=Mode(body["mode"]), generation=body["generation"])
