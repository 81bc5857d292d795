"""`python -m devstack.storage_controller`: the composition root and the command line."""

import argparse
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from devstack import serve
from devstack.storage_controller.admin import Admin
from devstack.storage_controller.compute_hook import ComputeHook
from devstack.storage_controller.controller import Controller
from devstack.storage_controller.events import Events
from devstack.storage_controller.faults import FaultBook
from devstack.storage_controller.heartbeats import DEADLINE_SECONDS, Heartbeats
from devstack.storage_controller.hook_sender import HookSender
from devstack.storage_controller.operations import Operations
from devstack.storage_controller.pageservers import Pageservers
from devstack.storage_controller.public_api import PublicApi
from devstack.storage_controller.reconciler import Reconciler
from devstack.storage_controller.safekeepers import Safekeepers
from devstack.storage_controller.state_file import StateFile, StateFileError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="devstack.storage_controller",
        description="move shards between pageservers as a storage controller does",
    )
    result.add_argument("--state", type=Path, required=True, metavar="FILE")
    result.add_argument("--listen", type=serve.address, default="127.0.0.1:0")
    result.add_argument("--admin", type=serve.address, default="127.0.0.1:0")
    result.add_argument("--control-plane-url", metavar="URL", help="whom the hooks go to")
    result.add_argument("--control-plane-token-file", type=Path, metavar="FILE")
    result.add_argument("--pageserver-token-file", type=Path, metavar="FILE")
    result.add_argument(
        "--auth-key", type=Path, metavar="FILE", help="PEM public key: ask for a token"
    )
    result.add_argument("--heartbeat-interval", type=float, default=5.0, metavar="SECONDS")
    result.add_argument("--offline-after", type=float, default=30.0, metavar="SECONDS")
    result.add_argument(
        "--heartbeat-deadline",
        type=float,
        default=DEADLINE_SECONDS,
        metavar="SECONDS",
        help="for each of the four tries of one heartbeat",
    )
    result.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="multiplies pauses between tries, and deadlines of hooks",
    )
    result.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    return result


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What runs."""

    sender: HookSender
    pageservers: Pageservers
    reconciler: Reconciler
    safekeepers: Safekeepers
    controller: Controller
    operations: Operations
    public: PublicApi
    admin: Admin


def build(args: argparse.Namespace) -> Parts:
    """Make every object. Raises ValueError, OSError and StateFileError for bad arguments."""
    file, faults, events, scale = StateFile(args.state), FaultBook(), Events(), args.time_scale
    state = file.load()
    sender = HookSender(
        args.control_plane_url,
        faults,
        events,
        token=serve.read_token(args.control_plane_token_file),
        scale=scale,
    )
    hook = ComputeHook(state, sender)
    token = serve.read_token(args.pageserver_token_file)
    pageservers = Pageservers(
        faults, token=token, heartbeat_deadline=args.heartbeat_deadline, scale=scale
    )
    reconciler = Reconciler(state, file, pageservers, hook, events, scale=scale)
    safekeepers = Safekeepers(state, file, hook, events, scale=scale)
    controller = Controller(
        state,
        file,
        events,
        pageservers=pageservers,
        reconciler=reconciler,
        heartbeats=Heartbeats(offline_after=args.offline_after),
        interval=args.heartbeat_interval,
    )
    operations = Operations(controller, events)
    return Parts(
        sender=sender,
        pageservers=pageservers,
        reconciler=reconciler,
        safekeepers=safekeepers,
        controller=controller,
        operations=operations,
        public=PublicApi(controller, auth_key=args.auth_key.read_text() if args.auth_key else None),
        admin=Admin(controller, operations, safekeepers, faults, events),
    )


async def serve_until_stopped(args: argparse.Namespace) -> None:
    """Run the listeners and the loops until a signal, or until a loop dies."""
    parts = build(args)
    await parts.sender.start()
    await parts.pageservers.start()
    runner, address = await serve.start_http(parts.public.app(), *args.listen)
    admin_runner, admin_address = await serve.start_http(parts.admin.app(), *args.admin)
    loops = [
        asyncio.create_task(parts.controller.run(), name="heartbeats"),
        asyncio.create_task(parts.reconciler.run(), name="reconciler"),
    ]
    stopped = asyncio.create_task(serve.wait_for_signal(), name="signal")
    serve.announce(address, admin_address)
    try:
        await asyncio.wait({stopped, *loops}, return_when=asyncio.FIRST_COMPLETED)
        for loop in loops:
            if loop.done():
                loop.result()
    finally:
        for loop in loops:
            loop.cancel()
        await runner.cleanup()
        await admin_runner.cleanup()
        await parts.operations.close()
        await parts.safekeepers.close()
        await parts.controller.close()
        await parts.pageservers.close()
        await parts.sender.close()


def main() -> int:
    """Parse, run; 2 where the arguments do not work."""
    args = parser().parse_args()
    serve.configure_logging(args.log_level)
    try:
        asyncio.run(serve_until_stopped(args))
    except (OSError, ValueError, StateFileError) as error:
        print(f"devstack.storage_controller: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
