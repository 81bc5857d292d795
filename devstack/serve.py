"""What the stand-ins share at their edge: addresses, the ready line, signals, JSON over HTTP."""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_BODY = 4 << 20


def address(text: str) -> tuple[str, int]:
    """Argument type: `HOST:PORT`, IPv4 host."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f'invalid address "{text}", expected HOST:PORT')
    return host, int(port)


def read_token(file: Path | None) -> str | None:
    """The token in a file; None for no file. Raises OSError; ValueError for an empty file."""
    if file is None:
        return None
    token = file.read_text().strip()
    if not token:
        raise ValueError(f'token file "{file}" is empty')
    return token


def configure_logging(level: str) -> None:
    """Log to stderr with times."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
    )


def announce(listen: str, admin: str, **more: str) -> None:
    """Print the ready line; `more` are addresses of further doors."""
    print(json.dumps({"listen": listen, "admin": admin, **more, "pid": os.getpid()}), flush=True)


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket of the address that does not listen yet. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


async def wait_for_signal() -> None:
    """Return at the first SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals into `{"error": ...}`: ValueError is 400, aiohttp's own keep their status."""
    try:
        return await handler(request)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return web.json_response({"error": error.reason}, status=error.status)


async def read_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object. Raises ValueError."""
    text = await request.text()
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f"body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("body must be a JSON object")  # noqa: TRY004 - a 400, not a bug
    return value


def only_keys(body: dict[str, Any], *allowed: str) -> None:
    """Raise ValueError where `body` has another key."""
    if unknown := set(body) - set(allowed):
        raise ValueError(f'unknown key "{min(unknown)}"')


async def start_http(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, str]:
    """Serve `app`; the runner to clean up and the address. Raises OSError."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_address=True)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, "{}:{}".format(*runner.addresses[0][:2])
