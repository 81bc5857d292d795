"""`python -m devstack.control_plane`: the composition root and the command line."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from devstack import serve
from devstack.control_plane.admin import Admin
from devstack.control_plane.faults import FaultBook
from devstack.control_plane.public_api import PublicApi
from devstack.control_plane.store import StateError, Store

TOKEN_VARIABLE = "NEON_CONTROL_PLANE_TOKEN"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="devstack.control_plane", description="hand out compute specs as a control plane does"
    )
    result.add_argument("--state", type=Path, required=True, metavar="FILE")
    result.add_argument("--listen", type=serve.address, default="127.0.0.1:0")
    result.add_argument("--admin", type=serve.address, default="127.0.0.1:0")
    result.add_argument(
        "--token-file", type=Path, metavar="FILE", help=f"bearer token; else ${TOKEN_VARIABLE}"
    )
    result.add_argument("--no-long-poll", action="store_true", help="ignore Prefer: wait")
    result.add_argument("--max-wait", type=int, default=60, metavar="SECONDS")
    result.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    return result


def read_token(file: Path | None) -> str | None:
    """The token to demand, or None. Raises OSError; ValueError for an empty file."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    token = file.read_text().strip()
    if not token:
        raise ValueError(f'token file "{file}" is empty')
    return token


async def serve_until_stopped(args: argparse.Namespace) -> None:
    """Run both listeners until a signal."""
    store = Store(args.state)
    store.load()
    faults = FaultBook()
    public = PublicApi(
        store,
        faults,
        token=read_token(args.token_file),
        long_poll=not args.no_long_poll,
        max_wait=args.max_wait,
    )
    runner, address = await serve.start_http(public.app(), *args.listen)
    admin = Admin(store, public, faults)
    admin_runner, admin_address = await serve.start_http(admin.app(), *args.admin)
    serve.announce(address, admin_address)
    await serve.wait_for_signal()
    await runner.cleanup()
    await admin_runner.cleanup()


def main() -> int:
    """Parse, run; 2 where the arguments do not work."""
    args = parser().parse_args()
    serve.configure_logging(args.log_level)
    try:
        asyncio.run(serve_until_stopped(args))
    except (OSError, ValueError, StateError) as error:
        print(f"devstack.control_plane: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
