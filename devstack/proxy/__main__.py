"""`python -m devstack.proxy`: the orders over HTTP. JSON, no token, loopback."""

import argparse
import asyncio
import json
import os
import sys
from typing import Any

from aiohttp import web

from devstack import serve
from devstack.proxy.faults import parse_order
from devstack.proxy.route import Route


class Admin:
    """The routes by name, and who may change them: everybody."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application(middlewares=[serve.json_errors])
        app.add_routes(
            [
                web.put("/routes/{name}", self._put_route),
                web.put("/routes/{name}/fault", self._put_fault),
                web.delete("/routes/{name}/fault", self._delete_fault),
                web.get("/stats", self._get_stats),
            ]
        )
        return app

    async def close(self) -> None:
        """Close every route."""
        for route in self._routes.values():
            await route.close()

    async def _put_route(self, request: web.Request) -> web.Response:
        """Make a route, or lead new connections of an old one to another target."""
        body = await serve.read_object(request)
        serve.only_keys(body, "target")
        name = request.match_info["name"]
        try:
            target = serve.address(str(body.get("target")))
        except argparse.ArgumentTypeError as error:
            raise ValueError(str(error)) from error
        if name in self._routes:
            self._routes[name].target = target
        else:
            route = Route(target)
            await route.start()
            self._routes[name] = route
        return web.json_response({"listen": self._routes[name].listen})

    async def _put_fault(self, request: web.Request) -> web.Response:
        order = parse_order(await serve.read_object(request))
        self._find(request).strike(order)
        return web.json_response({"kind": order.kind})

    async def _delete_fault(self, request: web.Request) -> web.Response:
        cleared = await self._find(request).clear(request.query.get("kind"))
        return web.json_response({"cleared": cleared})

    async def _get_stats(self, request: web.Request) -> web.Response:
        del request
        stats: dict[str, Any] = {
            name: {"listen": route.listen, "open": route.connections, "counts": dict(route.counts)}
            for name, route in self._routes.items()
        }
        return web.json_response(stats)

    def _find(self, request: web.Request) -> Route:
        name = request.match_info["name"]
        if name not in self._routes:
            raise web.HTTPNotFound(reason=f'unknown route "{name}"')
        return self._routes[name]


async def serve_until_stopped(args: argparse.Namespace) -> None:
    """Take orders until a signal."""
    admin = Admin()
    runner, address = await serve.start_http(admin.app(), *args.admin)
    print(json.dumps({"listen": address, "admin": address, "pid": os.getpid()}), flush=True)
    await serve.wait_for_signal()
    await runner.cleanup()
    await admin.close()


def main() -> int:
    """Parse, run; 2 where the arguments do not work."""
    parser = argparse.ArgumentParser(
        prog="devstack.proxy", description="a TCP proxy whose network can be broken on demand"
    )
    parser.add_argument("--admin", type=serve.address, default="127.0.0.1:0")
    serve.configure_logging("warning")
    try:
        asyncio.run(serve_until_stopped(parser.parse_args()))
    except OSError as error:
        print(f"devstack.proxy: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
