"""Who may come in at a door; each gate returns how the caller is named in log and history."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.http import HttpVersion11

from compute_ctl.errors import RequestError

Gate = Callable[[web.BaseRequest], str]
"""Raises RequestError where the caller may not come in."""

_LOCAL_HOST: Final = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE
)
_CREDENTIALS: Final = struct.Struct("3i")


def loopback_gate(request: web.BaseRequest) -> str:
    """Let local programs in, but no browser: neither by a foreign page nor by DNS rebinding."""
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


def socket_gate(request: web.BaseRequest) -> str:
    """Let everybody in who could open the socket; the kernel says who that is."""
    transport = request.transport
    peer: socket.socket | None = transport.get_extra_info("socket") if transport else None
    if peer is None:
        raise RequestError(400, "the caller has gone")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return f"uid {uid}"
