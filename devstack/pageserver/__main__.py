"""`python -m devstack.pageserver`: the composition root and the command line."""

import argparse
import asyncio
import re
import sys
from collections import Counter
from pathlib import Path

from devstack import serve
from devstack.pageserver import sharding
from devstack.pageserver.admin import Admin
from devstack.pageserver.context import Context
from devstack.pageserver.faults import FaultBook
from devstack.pageserver.management import ManagementApi
from devstack.pageserver.pages import PageStore
from devstack.pageserver.reattach import reattach, registration
from devstack.pageserver.server import Server
from devstack.pageserver.service import Limits, Service
from devstack.pageserver.tenant import Tenant


def _hex_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise argparse.ArgumentTypeError(f'invalid id "{text}", expected 32 hex digits')
    return text.lower()


def _pgdata(text: str) -> Path:
    path = Path(text)
    if not (path / "base").is_dir():
        raise argparse.ArgumentTypeError(f'"{text}" is not a PostgreSQL data directory')
    return path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="devstack.pageserver",
        description="serve a data directory's pages as a pageserver does",
    )
    result.add_argument("--pgdata", type=_pgdata, required=True, metavar="DIR")
    result.add_argument("--tenant", type=_hex_id, required=True, metavar="HEX")
    result.add_argument("--timeline", type=_hex_id, required=True, metavar="HEX")
    result.add_argument("--listen", type=serve.address, default="127.0.0.1:0")
    result.add_argument("--admin", type=serve.address, default="127.0.0.1:0")
    result.add_argument("--http", type=serve.address, default="127.0.0.1:0")
    result.add_argument("--node-id", type=int, default=1, metavar="N")
    result.add_argument("--controller", metavar="URL", help="register there and ask for shards")
    result.add_argument("--controller-token-file", type=Path, metavar="FILE")
    result.add_argument("--announce", metavar="HOST:PORT", help="libpq address to register")
    result.add_argument("--announce-http", metavar="HOST:PORT", help="HTTP address to register")
    result.add_argument("--attach-seconds", type=float, default=0.0, help="time of a cold attach")
    result.add_argument("--shards", default="all", help="all, none, or indexes such as 0004,0104")
    result.add_argument("--stripe-size", type=int, default=sharding.DEFAULT_STRIPE_SIZE)
    result.add_argument(
        "--auth-key", type=Path, metavar="FILE", help="PEM public key: ask for a token"
    )
    result.add_argument("--idle-timeout", type=float, default=Limits.idle, metavar="SECONDS")
    result.add_argument("--activation-timeout", type=float, default=Limits.activation)
    result.add_argument("--lsn-timeout", type=float, default=Limits.lsn)
    result.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    return result


def build(args: argparse.Namespace) -> tuple[Server, ManagementApi, Admin]:
    """Make every object. Raises ValueError and OSError for bad arguments."""
    limits = Limits(
        idle=args.idle_timeout, activation=args.activation_timeout, lsn=args.lsn_timeout
    )
    tenant = Tenant(
        tenant_id=args.tenant,
        timeline_id=args.timeline,
        ownership=sharding.parse(args.shards, args.stripe_size),
    )
    context = Context(
        service=Service(tenant, PageStore(args.pgdata), limits),
        faults=FaultBook(),
        limits=limits,
        auth_key=args.auth_key.read_text() if args.auth_key else None,
        counts=Counter(),
    )
    server = Server(context, tenant)
    management = ManagementApi(
        tenant,
        context.faults,
        node_id=args.node_id,
        auth_key=context.auth_key,
        attach_seconds=args.attach_seconds,
    )
    return server, management, Admin(server, management, tenant, context)


async def serve_until_stopped(args: argparse.Namespace) -> None:
    """Run all listeners until a signal."""
    server, management, admin = build(args)
    address = server.bind(*args.listen)
    http_address = await management.start(*args.http)
    if args.controller is not None:
        token = serve.read_token(args.controller_token_file)
        node = registration(
            args.node_id, libpq=args.announce or address, http=args.announce_http or http_address
        )
        for shard, location in await reattach(args.controller, token, node):
            await management.put(shard, location)
    await server.listen()
    runner, admin_address = await serve.start_http(admin.app(), *args.admin)
    serve.announce(address, admin_address, http=http_address)
    await serve.wait_for_signal()
    await server.stop()
    await management.stop()
    await runner.cleanup()


def main() -> int:
    """Parse, run; 2 where the arguments do not work."""
    args = parser().parse_args()
    serve.configure_logging(args.log_level)
    try:
        asyncio.run(serve_until_stopped(args))
    except (OSError, ValueError) as error:
        print(f"devstack.pageserver: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
