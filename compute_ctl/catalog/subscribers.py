"""Keeps subscribers of logical replication from running before their subscriptions are dropped.

A branch has the subscriptions of its parent. If they ran there, they would take the changes that
the parent is waiting for. So a server that is to drop them starts with Neon's setting that keeps
them from running, in a file that the configuration includes; it goes once they are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from compute_ctl.document.render import SUBSCRIBERS, SUBSCRIBERS_HOLD
from compute_ctl.errors import PostgresError
from compute_ctl.system.atomic_file import ReplacedFile, sync_folder

logger = logging.getLogger(__name__)

_TEXT: Final = f"{SUBSCRIBERS} = true\n"


class SubscriberOverride:
    """The subscribers of one server; for one thread at a time."""

    def __init__(self, folder: Path, *, reload: Callable[[], bool]) -> None:
        """*folder* is the data directory, *reload* sends SIGHUP to the server."""
        self._path = folder / SUBSCRIBERS_HOLD
        self._reload = reload
        self.held = self._path.exists()

    def hold(self) -> None:
        """Keep them from running in the server that is about to start. Never raises."""
        try:
            ReplacedFile(self._path, new_mode=0o644, reserve_bytes=0).replace(_TEXT.encode())
        except OSError as error:
            logger.error('could not write file "%s": %s', self._path, error.strerror or error)
            return
        self.held = True
        logger.info("subscribers do not run before their subscriptions are dropped")

    def release(self) -> None:
        """Let them run. Never raises: `held` says whether it is to be tried again."""
        try:
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)
            self._reload()
        except OSError as error:
            logger.error('could not remove file "%s": %s', self._path, error.strerror or error)
        except PostgresError as error:
            logger.error("%s", error)
        else:
            self.held = False
            logger.info("subscribers may run")
