"""`python -m devstack.fault_proxy`: the proxy and, on a port of its own, orders. No token."""

import argparse
import asyncio
import sys

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from devstack import serve
from devstack.fault_proxy.faults import FaultBook, parse_fault
from devstack.fault_proxy.forward import Forwarder


def orders(book: FaultBook) -> web.Application:
    """The HTTP application that takes orders."""

    async def put(request: web.Request) -> web.Response:
        book.add(parse_fault(await serve.read_object(request)))
        return web.json_response({})

    async def delete(request: web.Request) -> web.Response:
        found = book.clear_path(request.query["path"], request.query.get("kind"))
        return web.json_response({"cleared": found})

    app = web.Application(middlewares=[serve.json_errors], client_max_size=serve.MAX_BODY)
    app.add_routes([web.put("/fault", put), web.delete("/fault", delete)])
    return app


def proxy(forwarder: Forwarder) -> web.Application:
    """The HTTP application that computes ask."""
    app = web.Application(middlewares=[serve.json_errors], client_max_size=serve.MAX_BODY)
    app.add_routes([web.route("*", "/{path:.*}", forwarder.handle)])
    return app


async def serve_until_stopped(upstream: str) -> None:
    """Run both listeners until a signal."""
    book = FaultBook()
    async with ClientSession(
        connector=TCPConnector(limit=0), timeout=ClientTimeout(), auto_decompress=False
    ) as session:
        app = proxy(Forwarder(upstream, book, session))
        runner, address = await serve.start_http(app, "127.0.0.1", 0)
        admin_runner, admin_address = await serve.start_http(orders(book), "127.0.0.1", 0)
        serve.announce(address, admin_address)
        await serve.wait_for_signal()
        await runner.cleanup()
        await admin_runner.cleanup()


def main() -> int:
    """Parse, run."""
    parser = argparse.ArgumentParser(
        prog="devstack.fault_proxy", description="answer instead of a control plane, as ordered"
    )
    parser.add_argument("upstream", help="base URL of the control plane")
    serve.configure_logging("warning")
    asyncio.run(serve_until_stopped(parser.parse_args().upstream))
    return 0


if __name__ == "__main__":
    sys.exit(main())
