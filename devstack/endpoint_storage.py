"""`python -m devstack.endpoint_storage`: keeps what computes put there, in memory.

GET and PUT `/TENANT/TIMELINE/ENDPOINT/KEY` with the bearer token, as Neon's. Orders at a port of
its own, without a token: PUT `/fault` (`{"code": 500}`, or `{"code": 0}` for silence) until DELETE.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Self

from aiohttp import web

from devstack import serve
from devstack.client import exchange
from devstack.launch import Standin

MAX_BODY = 100 << 20


class Storage:
    """What is kept, and the fault in force."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._kept: dict[str, bytes] = {}
        self._fault: int | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a compute."""
        if self._fault == 0:
            await asyncio.Event().wait()
        if self._fault:
            return web.json_response({"error": "ordered"}, status=self._fault)
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return web.Response(status=401)
        if request.method == "PUT":
            self._kept[request.path] = await request.read()
            return web.Response()
        found = self._kept.get(request.path)
        return web.Response(status=404) if found is None else web.Response(body=found)

    async def order(self, request: web.Request) -> web.Response:
        """Take an order."""
        body = await serve.read_object(request) if request.method == "PUT" else {}
        self._fault = body.get("code")
        return web.json_response({})


async def serve_until_stopped(token: str) -> None:
    """Run both listeners until a signal."""
    storage = Storage(token)
    app = web.Application(middlewares=[serve.json_errors], client_max_size=MAX_BODY)
    app.add_routes([web.route("*", "/{tenant}/{timeline}/{endpoint}/{key}", storage.handle)])
    admin = web.Application(middlewares=[serve.json_errors])
    admin.add_routes([web.route("*", "/fault", storage.order)])
    runner, address = await serve.start_http(app, "127.0.0.1", 0)
    admin_runner, admin_address = await serve.start_http(admin, "127.0.0.1", 0)
    serve.announce(address, admin_address)
    await serve.wait_for_signal()
    await runner.cleanup()
    await admin_runner.cleanup()


class EndpointStorage(Standin):
    """A running one; use it as a context manager."""

    def __init__(self, token: str, log_dir: Path) -> None:
        super().__init__("endpoint_storage", [token], log_dir / "endpoint_storage.log")

    def __enter__(self) -> Self:
        return self

    def set_fault(self, code: int | None) -> None:
        """Answer everything with *code*; 0: not at all; None: as it should."""
        admin = self.child.ready["admin"]
        if code is None:
            exchange(admin, "DELETE", "/fault")
        else:
            exchange(admin, "PUT", "/fault", {"code": code})


def main() -> int:
    """Parse, run."""
    parser = argparse.ArgumentParser(
        prog="devstack.endpoint_storage", description="keep the states of file caches"
    )
    parser.add_argument("token")
    serve.configure_logging("warning")
    asyncio.run(serve_until_stopped(parser.parse_args().token))
    return 0


if __name__ == "__main__":
    sys.exit(main())
