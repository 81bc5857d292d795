"""Authenticates the callers of listeners, and names them for log and history."""

from __future__ import annotations

import re
import socket
import struct
from typing import Any, Final, Protocol

from aiohttp import web
from aiohttp.http import HttpVersion11

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, Route

_LOCAL_HOST: Final = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE
)
_CREDENTIALS: Final = struct.Struct("3i")


class Authenticator(Protocol):
    """Authenticates the caller of a request."""

    async def __call__(self, request: web.BaseRequest, found: Route[Any] | ApiResponse) -> str:
        """Return the caller's name. Raises RequestError; *found* is what the request asks for.

        ``found.parameters(request.path)`` are the parameters in the path.
        """


async def authenticate_loopback(request: web.BaseRequest, found: Route[Any] | ApiResponse) -> str:
    """Accept local programs, but no web page in a browser, also not by DNS rebinding."""
    if "Origin" in request.headers:
        raise RequestError(403, "requests with an Origin header are refused")
    hosts = request.headers.getall("Host", [])
    if not hosts and request.version < HttpVersion11:
        return "loopback"
    if len(hosts) != 1:
        raise RequestError(400, "exactly one Host header is needed")
    if _LOCAL_HOST.fullmatch(hosts[0].strip()) is None:
        raise RequestError(403, "the Host header names neither localhost, 127.0.0.1 nor [::1]")
    return "loopback"


async def authenticate_socket(request: web.BaseRequest, found: Route[Any] | ApiResponse) -> str:
    """Accept everybody who could open the socket; the kernel knows the user."""
    transport = request.transport
    peer: socket.socket | None = transport.get_extra_info("socket") if transport else None
    if peer is None:
        raise RequestError(400, "the caller has gone")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return user_name(uid)


def user_name(uid: int) -> str:
    """Return the name of a unix socket caller in log and history."""
    return f"uid {uid}"
