"""What is around a control plane that is measured: its store, and a storage controller."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Raw

from bench.held_polls import Answers, request
from control_plane.decisions import documents
from control_plane.decisions.model import ComputeRecord
from control_plane.ports import Write
from control_plane.store.opening import open_store
from devstack.document import attached

NODES = 4
SETTINGS = 30
"""In each document, which is then about 3 KB long."""
HOOK_TIMEOUT_S = 30.0


def tenant_id(number: int) -> str:
    """Return the id of a tenant."""
    return f"{number:032x}"


def document(tenant: str) -> bytes:
    """Return an operator's text of some 3 KB."""
    settings = {f"bench.setting_{number}": "x" * 20 for number in range(SETTINGS)}
    return json.dumps(attached(tenant=tenant, timeline="b" * 32, settings=settings)).encode()


async def seed(path: Path, ids: list[str], tenants: list[str]) -> None:
    """Put the computes into a store, as if an operator had; they take the tenants in turn."""
    texts = [documents.read_operator_text(document(tenant), managed=True) for tenant in tenants]
    writes = []
    for number, compute_id in enumerate(ids):
        text = texts[number % len(texts)]
        record = ComputeRecord(
            id=compute_id,
            document=Raw(text.raw),
            published_at=datetime.now(UTC),
            tenant_id=text.tenant_id,
            timeline_id=text.timeline_id,
        )
        writes.append(Write(key=f"computes/{compute_id}", value=msgspec.json.encode(record)))
    store = await open_store(str(path))
    await store.commit(writes)
    await store.close()


async def hook(port: int, tenant: str, node: int) -> int:
    """Send a `notify-attach`; return the status of the answer."""
    body = {"tenant_id": tenant, "shards": [{"node_id": node, "shard_number": 0}]}
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[int] = loop.create_future()
    _, connection = await loop.create_connection(Answers, "127.0.0.1", port)
    connection.on_answer = lambda status, _head, _body: answer.set_result(status)
    connection.transport.write(request("PUT", "/notify-attach", json.dumps(body).encode()))
    try:
        return await asyncio.wait_for(answer, HOOK_TIMEOUT_S)
    finally:
        connection.transport.abort()


class StorageStandin:
    """A storage controller that knows nodes and unsharded tenants; use it as a context manager."""

    def __init__(self, tenants: int) -> None:
        self.tenants = [tenant_id(number) for number in range(tenants)]
        self._places = dict.fromkeys(self.tenants, 1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def move(self, tenant: str) -> int:
        """Move a tenant to the next node; return which."""
        self._places[tenant] = self._places[tenant] % NODES + 1
        return self._places[tenant]

    def _answer(self, path: str) -> Any:
        if path == "/control/v1/safekeeper":
            return []
        if path == "/control/v1/node":
            return [
                {
                    "id": number,
                    "listen_pg_addr": f"pageserver-{number}.storage.example",
                    "listen_pg_port": 6400,
                    "listen_http_addr": f"pageserver-{number}.storage.example",
                    "listen_http_port": 9898,
                }
                for number in range(1, NODES + 1)
            ]
        tenant = path.split("/")[-2]
        return {
            "shards": [{"shard_id": tenant, "node_id": self._places[tenant]}],
            "shard_params": {"count": 0, "stripe_size": 2048},
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps(answer(self.path)).encode()
                with suppress(ConnectionError):  # it has given up, or ended
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
