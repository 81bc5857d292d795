"""Accepts connections.

Not by asyncio's own server: that one accepts connections for which there is no room, and when file
descriptors run out it logs a traceback for each waiting connection, again and again. Here,
connections without room stay in the kernel's queue, and an accept error is logged once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from typing import Final

from compute_common.http.limits import ConnectionLimiter

ACCEPT_PAUSE_S: Final = 0.2
"""After an accept error, which is likely to last for a while."""
ACCEPT_LOG_S: Final = 60.0
"""Between two log lines about accept errors."""


class Acceptor:
    """Accepts the connections of one listening socket."""

    def __init__(
        self,
        sock: socket.socket,
        limiter: ConnectionLimiter,
        *,
        tls: ssl.SSLContext | None,
        logger: logging.Logger,
    ) -> None:
        """Start accepting; must be called in the event loop's thread."""
        self._sock = sock
        self._limiter = limiter
        self._tls = tls
        self._logger = logger
        self._logged_at = -math.inf
        self._task = asyncio.get_running_loop().create_task(self._run(), name="accept")
        self._task.add_done_callback(self._log_death)

    def close(self) -> None:
        """Stop accepting; the kernel resets the connections in its queue."""
        self._task.cancel()
        self._sock.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._sock)
            except ConnectionError:
                continue  # the client has gone
            except OSError as error:
                self._failed(error)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            try:
                if not await self._limiter.room():
                    accepted.close()
                elif self._tls is not None:
                    self._limiter.shake_hands(accepted, self._tls)
                else:
                    await loop.connect_accepted_socket(self._limiter, accepted)
            except OSError as error:
                accepted.close()
                self._logger.debug("connection lost while accepting it: %s", error)
            except asyncio.CancelledError:
                accepted.close()
                raise

    def _failed(self, error: OSError) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= ACCEPT_LOG_S:
            self._logged_at = now
            self._logger.error("could not accept a connection: %s", error.strerror or error)

    def _log_death(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._logger.critical("listener died: %s", error, exc_info=error)
