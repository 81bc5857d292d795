"""Notices that somebody has removed the state folder or the socket, and makes them again.

Without them a heal still works, but nobody could ask, and a daemon started next would know nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from compute_ctl.configurator.journal import Journal
from compute_ctl.errors import SettingsError, StoreError
from compute_ctl.http import Doors
from compute_ctl.node import Node

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 2.0


class FolderWatch:
    """Watches one state folder; `run` is its task."""

    def __init__(self, *, node: Node, journal: Journal, doors: Doors) -> None:
        self._node = node
        self._journal = journal
        self._doors = doors
        self._said = ""

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if await self._journal.remake():
                    await self._journal.save(self._node.state)
                await self._doors.remake_socket()
            except (SettingsError, StoreError) as error:
                if str(error) != self._said:
                    logger.warning("%s", error)
                self._said = str(error)
            else:
                self._said = ""
