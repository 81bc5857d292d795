"""Measures the size of the audit log at intervals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from compute_common.system.blocking_worker import BlockingWorker

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 30.0
MAX_FILES: Final = 10_000


@dataclass(kw_only=True)
class AuditLog:
    """Measures the audit log of a server; `run` is its task."""

    folder: Path
    kept: Callable[[], bool]
    """Whether there should be an audit log."""
    on_size: Callable[[int], None]
    interval_s: float = INTERVAL_S
    _worker: BlockingWorker = field(default_factory=lambda: BlockingWorker("audit-log"))

    async def run(self) -> None:
        """Measure at intervals, until cancelled."""
        while True:
            if self.kept():
                await self._measure()
            await asyncio.sleep(self.interval_s)

    async def _measure(self) -> None:
        try:
            size = await self._worker.run(self.size, within_s=INTERVAL_S)
        except TimeoutError:
            logger.warning('could not measure "%s" in time', self.folder)
        except Exception:  # for example no thread: this must not stop the daemon
            logger.exception('could not measure "%s"', self.folder)
        else:
            self.on_size(size)

    def size(self) -> int:
        """Return the bytes in the folder's files, 0 where there is none."""
        total = 0
        try:
            for count, path in enumerate(self.folder.iterdir()):
                if count == MAX_FILES:
                    break
                with suppress(FileNotFoundError):  # rotated away meanwhile
                    total += path.lstat().st_size
        except OSError as error:
            logger.debug('could not measure "%s": %s', self.folder, error.strerror)
        return total
