"""The storage controller, asked over HTTP.

Where several addresses are given, the one that answered last is asked first; the next one at once
if it cannot be reached or answers 503. The bearer token appears in no error.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from compute_common.http.addresses import base_urls
from compute_common.http.client import HttpAnswer, HttpClient, RefusedError, reason_in, status_text
from control_plane.controller.answers import decode_nodes, decode_placement, decode_safekeepers
from control_plane.decisions.model import Placement, StorageNode, StorageSafekeeper
from control_plane.errors import BusyError, ControllerError

CONNECT_TIMEOUT_S: Final = 2.0
TOTAL_TIMEOUT_S: Final = 5.0
LOCATE_TIMEOUT_S: Final = 2.0
MAX_BYTES: Final = 16 << 20
"""Of an answer; a node takes about 400."""
MAX_CONNECTIONS: Final = 32
"""To each address; who wants to locate more tenants at once waits as long as for a connection."""
_LOGIN_HINT: Final = "Is the token in --storage-controller-token-file right?"
_HINTS: Final = {
    401: _LOGIN_HINT,
    403: f"{_LOGIN_HINT} Its scope must be admin.",
    404: "Is the address in --storage-controller that of a storage controller?",
}


class ControllerClient:
    """A `ports.StorageController`; use it in one event loop, and close it there."""

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        ca: Path | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        locate_timeout_s: float = LOCATE_TIMEOUT_S,
    ) -> None:
        """*uri*: an address, or several separated by commas; *ca*: authorities to trust, PEM.

        Raises:
            SettingsError: the URI or the token cannot be used.
        """
        self._addresses = deque(
            base_urls(
                uri,
                service="storage controller",
                example="--storage-controller http://127.0.0.1:1234",
                login_hint="Put the token into a file: --storage-controller-token-file.",
            )
        )
        """The one to ask first."""
        self._token = token
        self._total_timeout_s = total_timeout_s
        self._locate_timeout_s = locate_timeout_s
        self._client = HttpClient(
            peer="storage controller",
            token=token,
            tls=any(base.startswith("https:") for base in self._addresses),
            ca=ca,
            ca_flag="--storage-controller-ca",
            connect_timeout_s=connect_timeout_s,
            max_bytes=MAX_BYTES,
            max_connections=MAX_CONNECTIONS,
        )

    async def nodes(self) -> tuple[StorageNode, ...]:
        """Return all nodes; see `ports.StorageController`."""
        answer = await self._request("GET", "/control/v1/node", self._total_timeout_s)
        self._require_ok(answer)
        return decode_nodes(answer.body)

    async def safekeepers(self) -> tuple[StorageSafekeeper, ...]:
        """Return all safekeepers, () where it manages none; see `ports.StorageController`."""
        answer = await self._request("GET", "/control/v1/safekeeper", self._total_timeout_s)
        if _is_not_found(answer):  # a controller from before it managed them
            return ()
        self._require_ok(answer)
        return decode_safekeepers(answer.body)

    async def locate(self, tenant_id: str) -> Placement | None:
        """Return the intended place of a tenant; see `ports.StorageController`."""
        path = f"/debug/v1/tenant/{quote(tenant_id, safe='')}/locate"
        answer = await self._request("GET", path, self._locate_timeout_s)
        if _is_not_found(answer):
            return None
        self._require_ok(answer)
        return decode_placement(answer.body, tenant_id)

    async def set_offline(self, node_id: int) -> None:
        """Say that a node is offline; see `ports.StorageController`."""
        body = msgspec.json.encode({"node_id": node_id, "availability": "Offline"})
        path = f"/control/v1/node/{node_id}/config"
        answer = await self._request("PUT", path, self._total_timeout_s, body)
        if answer.status == HTTPStatus.PRECONDITION_FAILED:
            raise BusyError(f"the storage controller is busy: {self._reason(answer)}")
        self._require_ok(answer)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _request(
        self, method: str, path: str, within_s: float, body: bytes | None = None
    ) -> HttpAnswer:
        """Ask each address at most once, until one answers. Raises ControllerError."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        failures: list[str] = []
        for base in tuple(self._addresses):
            try:
                answer = await self._client.request(
                    method,
                    f"{base}{path}",
                    rpc=path,
                    total_s=max(until - loop.time(), 0.001),
                    headers={} if body is None else {"Content-Type": "application/json"},
                    body=body,
                    reset_on_timeout=False,  # others are asked for other tenants meanwhile
                )
                if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return answer
                failure = RefusedError(self._reason(answer), unavailable=True)
            except RefusedError as refused:
                failure = refused
            failures.append(f'"{base}": {failure.reason}')
            if self._addresses[0] == base:  # else another request has found that out
                self._addresses.rotate(-1)
            if not failure.unavailable or loop.time() >= until:
                break
        raise ControllerError(f"could not ask the storage controller {'; '.join(failures)}")

    def _require_ok(self, answer: HttpAnswer) -> None:
        if answer.status != HTTPStatus.OK:
            raise ControllerError(
                f"the storage controller refused: {self._reason(answer)}",
                hint=_HINTS.get(answer.status),
            )

    def _reason(self, answer: HttpAnswer) -> str:
        said = reason_in(answer.body, token=self._token)
        return f"HTTP status {status_text(answer.status)}" + (f": {said}" if said else "")


def _is_not_found(answer: HttpAnswer) -> bool:
    """Whether the controller itself, and no proxy before it, knows no such thing."""
    if answer.status != HTTPStatus.NOT_FOUND:
        return False
    try:
        return "msg" in msgspec.json.decode(answer.body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
