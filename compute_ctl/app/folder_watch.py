"""Notices that somebody has removed the state folder, the socket or the live file.

Without the first two a heal still works, but nobody could ask, and a daemon started next would know
nothing: they are made again. Without the live file the next reload takes PostgreSQL's servers away:
a look writes it again, once, since it may be a full disk that keeps it out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from compute_common.errors import SettingsError
from compute_ctl.decisions.model import RequestOrigin
from compute_ctl.errors import StoreError
from compute_ctl.http import HttpServer
from compute_ctl.node import Node
from compute_ctl.reconciler.generations import GenerationStore

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 2.0


class FolderWatch:
    """Watches one state folder; `run` is its task."""

    def __init__(self, *, node: Node, store: GenerationStore, http_server: HttpServer) -> None:
        self._node = node
        self._store = store
        self._http_server = http_server
        self._said = ""
        self._asked = False
        """Whether a look was asked for since the live file was last there."""

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if await self._store.remake():
                    await self._store.save(self._node.config.state)
                await self._http_server.remake_socket()
                await self._look_for_live_file()
            except (SettingsError, StoreError) as error:
                if str(error) != self._said:
                    logger.warning("%s", error)
                self._said = str(error)
            else:
                self._said = ""

    async def _look_for_live_file(self) -> None:
        gone = self._node.config.written is not None and await self._store.live_is_gone()
        if gone and not self._asked and not self._node.terminating:
            self._node.request_refresh(who="a removed file", source=RequestOrigin.CLOCK)
        self._asked = gone
