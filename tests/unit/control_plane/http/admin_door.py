"""The admin socket of a control plane in this process."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.control_plane.http.public_door import Door, Reply, public_door


class Admin:
    """The admin socket of a control plane."""

    def __init__(self, door: Door, session: aiohttp.ClientSession) -> None:
        self.door = door
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if raw is not None:
            named["Content-Type"] = "application/json"
        async with self._session.request(
            method, "http://localhost" + path, data=raw, headers=named
        ) as answer:
            text = await answer.text()
            found = json.loads(text) if answer.content_type == "application/json" else text
            return Reply(answer.status, answer.headers, found)

    async def good(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The body of an answer that must be 200."""
        reply = await self.ask(method, path, body, **headers)
        assert 200 == reply.code, reply.body
        return reply.body

    async def metrics(self) -> dict[str, float]:
        """All samples, by name and labels, without the common prefix."""
        text = await self.good("GET", "/metrics")
        return {
            ",".join((sample.name.removeprefix("compute_control_plane_"), *sample.labels.values())):
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }  # fmt: skip


@asynccontextmanager
async def admin_door(folder: Path) -> AsyncIterator[Admin]:
    """Serve; the storage controller knows the tenant on node 1."""
    async with public_door(folder) as door:
        connector = aiohttp.UnixConnector(str(folder / "admin.sock"))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Admin(door, session)
