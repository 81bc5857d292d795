"""Tells a daemon that does not poll, Neon's own, of its document: ``POST /configure``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Raw, Struct

from compute_common.http.client import HttpClient, RefusedError, reason_in, status_text
from control_plane.controller.signing_key import SigningKey
from control_plane.errors import PushError

CONNECT_TIMEOUT_S: Final = 2.0
TOTAL_TIMEOUT_S: Final = 60.0
"""The daemon answers when it has applied the document, and gives up on that by itself never."""
MAX_BYTES: Final = 1 << 20
MAX_PUSHES: Final = 256
"""At the same time; each has a socket."""
_CONFIG: Final = b'{"jwks":{"keys":[]}}'
"""Neon's daemon requires a `compute_ctl_config` in each request, and ignores it."""


class _Published(Struct, frozen=True):
    """The parts of a published document that are pushed."""

    spec: Raw
    compute_ctl_config: Raw = Raw(_CONFIG)


class ConfigurePusher:
    """A `ports.Pusher`; use it in one event loop, and close it there."""

    def __init__(
        self,
        key: SigningKey,
        *,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """*key* signs the tokens; *clock* gives seconds since 1970."""
        self._key = key
        self._clock = clock
        self._total_timeout_s = total_timeout_s
        self._free = asyncio.Semaphore(MAX_PUSHES)
        self._client = HttpClient(
            peer="compute",
            tls=True,
            ca_flag="the system's list of authorities",
            connect_timeout_s=CONNECT_TIMEOUT_S,
            max_bytes=MAX_BYTES,
        )

    async def push(self, url: str, document: bytes, *, compute_id: str) -> None:
        """POST the document to ``url/configure``; returns when the daemon runs with it.

        Raises:
            PushError: 412 it is busy, 500 it could not apply it, another status, or None: no
                answer, and it is not known whether it was applied.
        """
        body = _request_body(document)
        target = f"{url.rstrip('/')}/configure"
        async with self._free:
            token = self._key.token(compute_id=compute_id, now_s=self._clock())
            try:
                answer = await self._client.request(
                    "POST",
                    target,
                    rpc="configure",
                    total_s=self._total_timeout_s,
                    headers={
                        "Authorization": f"Bearer {token}",
                        "Content-Type": "application/json",
                        "Connection": "close",
                    },
                    body=body,
                    reset_on_timeout=False,
                )
            except RefusedError as refused:
                raise PushError(f'could not push to "{target}": {refused.reason}') from refused
        if answer.status != HTTPStatus.OK:
            said = reason_in(answer.body, token=token)
            raise PushError(
                f'"{target}": HTTP status {status_text(answer.status)}{said and ": "}{said}',
                code=answer.status,
            )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


def _request_body(document: bytes) -> bytes:
    try:
        published = msgspec.json.decode(document, type=_Published)
    except msgspec.DecodeError as error:
        raise PushError(f"the document has no spec that could be pushed: {error}") from error
    return msgspec.json.encode(published)
