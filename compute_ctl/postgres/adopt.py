"""A server that somebody else starts and stops: systemd, pg_ctl, a test."""

from __future__ import annotations

import asyncio

from compute_ctl.postgres.postmaster import find
from compute_ctl.postgres.server import QUICK_FOR_S, QUICK_POLL_S, SLOW_POLL_S, Events, Server


class Attached(Server):
    """Finds the server whenever it runs, and never starts it."""

    async def watch(self, events: Events) -> None:
        """Report on every incarnation of the server, until cancelled.

        A server that ends is gone for its own reasons: `on_exit` comes without a status.
        """
        loop = asyncio.get_running_loop()
        gone_at = loop.time() - QUICK_FOR_S
        while True:
            process = find(self._pgdata)
            if process is None:
                quick = loop.time() - gone_at < QUICK_FOR_S
                await asyncio.sleep(QUICK_POLL_S if quick else SLOW_POLL_S)
                continue
            with process:
                self._process = process
                await self._follow(process, events)
            gone_at = loop.time()
            events.on_exit(None)
