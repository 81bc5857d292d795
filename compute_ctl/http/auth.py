"""Authenticates the callers of the external listener."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from aiohttp import web

from compute_common.document.spec import Jwks
from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, Route
from compute_common.http.bearer import bearer
from compute_ctl.http.tokens import KeySet, authorize
from compute_ctl.node import Node
from compute_ctl.settings import Settings

logger = logging.getLogger(__name__)


class TokenAuthenticator:
    """Accepts callers with a token that a key of the newest accepted document has signed."""

    def __init__(self, *, node: Node, settings: Settings) -> None:
        self._node = node
        self._compute_id = settings.compute_id
        self._exp_required = settings.tokens_need_exp
        self._keys = KeySet()
        self._read_from: Jwks | None = None

    async def __call__(self, request: web.BaseRequest, found: Route[Any] | ApiResponse) -> str:
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
        jwks = self._node.config.ctl_config.jwks
        if jwks is not self._read_from:
            keys = await asyncio.to_thread(KeySet.of, jwks.keys) if jwks.keys else KeySet()
            for line in keys.unusable:
                logger.warning("compute_ctl_config.jwks.%s", line)
            self._keys, self._read_from = keys, jwks
        return self._keys
