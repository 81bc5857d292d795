"""Accepts the connections of one listening socket.

Not by asyncio's own server: that takes connections for which there is no room, and for want of file
descriptors it logs a traceback for each connection that waits, again and again. Here what there is
no room for stays in the kernel's queue, and a failure is told once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from typing import Final

from compute_ctl.http.limits import ConnectionLimiter

logger = logging.getLogger(__name__)

PAUSE_S: Final = 0.2
"""After a failure, which is likely to be there for a while."""
TOLD_EVERY_S: Final = 60.0


class Acceptor:
    """One listening socket of a listener."""

    def __init__(self, sock: socket.socket, limiter: ConnectionLimiter) -> None:
        """Begin to accept; call it in the event loop's thread."""
        self._sock = sock
        self._limiter = limiter
        self._told_at = -math.inf
        self._task = asyncio.get_running_loop().create_task(self._run(), name="accept")
        self._task.add_done_callback(_tell)

    def close(self) -> None:
        """Accept no more; who waits in the queue is turned away."""
        self._task.cancel()
        self._sock.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._sock)
            except ConnectionError:
                continue  # the caller has gone
            except OSError as error:
                self._failed(error)
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                if await self._limiter.room():
                    await loop.connect_accepted_socket(self._limiter, accepted)
                else:
                    accepted.close()
            except OSError as error:
                accepted.close()
                logger.debug("a connection broke while it was accepted: %s", error)
            except asyncio.CancelledError:
                accepted.close()
                raise

    def _failed(self, error: OSError) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            logger.error("could not accept a connection: %s", error.strerror or error)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("a listener accepts no more connections: %s", error, exc_info=error)
