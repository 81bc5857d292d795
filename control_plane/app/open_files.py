"""How many connections and held requests the limit of open files allows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from compute_common.system.file_limit import raise_file_limit
from control_plane.settings import MOST_HELD, Settings

logger = logging.getLogger(__name__)

SPARE_CONNECTIONS: Final = 1000
"""Of the public port, beside those that are held."""
LEAST_CONNECTIONS: Final = 64
FILES_KEPT: Final = 400
"""Descriptors for everything else: the store, other listeners, calls to others."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many may be open at the same time."""

    connections: int
    """To the public port."""
    held: int
    """Long polls."""


def make_room(settings: Settings) -> Room:
    """Raise the limit of open files, and return how many connections and long polls it allows.

    Raises:
        SettingsError: the limit cannot be raised to what the process needs at least.
    """
    wanted = settings.max_held or MOST_HELD
    needed = wanted + SPARE_CONNECTIONS + FILES_KEPT
    files = raise_file_limit(needed, warns=settings.max_held is not None)
    room = room_in(files, wanted)
    if settings.max_held is None and room.held < wanted:
        logger.info("up to %d polls are held: the limit of open files is %d", room.held, files)
    return room


def room_in(files: int, wanted: int) -> Room:
    """Return what a limit of *files* open files allows; *wanted*: long polls at most. Pure."""
    connections = max(files - FILES_KEPT, LEAST_CONNECTIONS)
    held = max(connections - SPARE_CONNECTIONS, connections // 2)
    return Room(connections=connections, held=min(held, wanted))
