"""Who may do what. Tokens are compared in constant time, and shown to nobody."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from aiohttp import web

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, Route
from compute_common.http.bearer import bearer
from control_plane.fleet.registry import Registry

WRONG_TOKEN: Final = "this token does not open this"  # noqa: S105 -- a message
HOOKS: Final = frozenset({"/notify-attach", "/notify-safekeepers"})


def token_sha256(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class PublicTokens:
    """Authenticates computes and the storage controller.

    Where a token is '', callers need none if only this machine reaches the port (*loopback*), and
    are refused if others do.
    """

    def __init__(self, *, registry: Registry, hook: str, compute: str, loopback: bool) -> None:
        self._registry = registry
        self._hook = token_sha256(hook) if hook else ""
        self._compute = token_sha256(compute) if compute else ""
        self._loopback = loopback

    async def __call__(self, request: web.BaseRequest, found: Route[Any] | ApiResponse) -> str:
        """Return the caller's name; open and unknown routes need no token.

        A compute with a token of its own needs that one, all others need the shared one. So a
        stranger does not learn which computes there are.

        Raises:
            RequestError: 401, no token is shown, or a malformed one; 403, a wrong one.
        """
        if isinstance(found, ApiResponse) or found.open:
            return "anybody"
        if found.path in HOOKS:
            who, needed = "storage controller", self._hook
        else:
            compute_id = found.parameters(request.path)["id"]
            record = self._registry.computes.get(compute_id)
            who = compute_id
            needed = (record.token_sha256 if record is not None else None) or self._compute
        if needed or not self._loopback:
            check(request, needed)
        return who


class AdminTokens:
    """Authenticates callers with the one admin token."""

    def __init__(self, token: str) -> None:
        self._needed = token_sha256(token)

    async def __call__(self, request: web.BaseRequest, found: Route[Any] | ApiResponse) -> str:
        """Return the caller's name. Raises RequestError 401 and 403."""
        if not isinstance(found, ApiResponse) and not found.open:
            check(request, self._needed)
        return "admin token"


async def anybody(request: web.BaseRequest, found: Route[Any] | ApiResponse) -> str:
    """Let everybody in: for a listener that serves nothing secret."""
    return "anybody"


def check(request: web.BaseRequest, needed: str) -> None:
    """Check the token of *request* against the SHA-256 *needed*; '' fits no token.

    Raises:
        RequestError: 401, no token is shown, or a malformed one; 403, a wrong one.
    """
    try:
        shown = bearer(request.headers.getall("Authorization", []))
    except RequestError as error:
        raise RequestError(401, str(error), hint=error.hint) from None
    if not hmac.compare_digest(token_sha256(shown), needed):
        raise RequestError(403, WRONG_TOKEN)
