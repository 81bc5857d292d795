"""Authenticates the callers of each listener, and names them for log and history."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
import time
from typing import Final, Protocol

from aiohttp import web
from aiohttp.http import HttpVersion11

from compute_common.document.spec import Jwks
from compute_common.errors import RequestError
from compute_ctl.http.api import ApiResponse, Route, user_name
from compute_ctl.http.tokens import KeySet, authorize, bearer
from compute_ctl.node import Node
from compute_ctl.settings import Settings

logger = logging.getLogger(__name__)

_LOCAL_HOST: Final = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE
)
_CREDENTIALS: Final = struct.Struct("3i")


class Authenticator(Protocol):
    """Authenticates the caller of a request."""

    async def __call__(self, request: web.BaseRequest, found: Route | ApiResponse) -> str:
        """Return the caller's name. Raises RequestError; *found* is what the request asks for."""


async def authenticate_loopback(request: web.BaseRequest, found: Route | ApiResponse) -> str:
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


async def authenticate_socket(request: web.BaseRequest, found: Route | ApiResponse) -> str:
    """Accept everybody who could open the socket; the kernel knows the user."""
    transport = request.transport
    peer: socket.socket | None = transport.get_extra_info("socket") if transport else None
    if peer is None:
        raise RequestError(400, "the caller has gone")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return user_name(uid)


class TokenAuthenticator:
    """Accepts callers with a token that a key of the newest accepted document has signed."""

    def __init__(self, *, node: Node, settings: Settings) -> None:
        self._node = node
        self._compute_id = settings.compute_id
        self._exp_required = settings.tokens_need_exp
        self._keys = KeySet()
        self._read_from: Jwks | None = None

    async def __call__(self, request: web.BaseRequest, found: Route | ApiResponse) -> str:
        """Check the token of *request*; open and unknown routes need none."""
        if isinstance(found, ApiResponse) or found.open:
            return "external"
        if not self._node.restored:  # the keys are not known yet, so no token is wrong
            raise RequestError(503, "the daemon is starting", hint="Try again.")
        claims = authorize(
            bearer(request.headers.getall("Authorization", [])),
            await self._current_keys(),
            compute_id=self._compute_id,
            now=time.time(),
            exp_required=self._exp_required,
        )
        return "external, for all computes" if claims.scope else "external"

    async def _current_keys(self) -> KeySet:
        """Return the current keys; in a thread, since the first ones import PyJWT."""
        jwks = self._node.ctl_config.jwks
        if jwks is not self._read_from:
            keys = await asyncio.to_thread(KeySet.of, jwks.keys) if jwks.keys else KeySet()
            for line in keys.unusable:
                logger.warning("compute_ctl_config.jwks.%s", line)
            self._keys, self._read_from = keys, jwks
        return self._keys
