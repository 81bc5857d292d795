"""The lock on the data directory: one daemon manages it, whatever its state directory is.

Postgres does not lock the directory itself, so no file of its own is needed.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compute_common.errors import SettingsError

logger = logging.getLogger(__name__)


@contextmanager
def lock_pgdata(pgdata: Path) -> Iterator[None]:
    """Lock *pgdata* for this daemon. Raises SettingsError: another daemon has it."""
    fd = os.open(pgdata, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(fd, pgdata)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, pgdata: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingsError(
            f'another compute_ctl manages data directory "{pgdata}"',
            hint="It has another --state-dir; pgrep -af compute_ctl shows it.",
        ) from None
    except OSError as error:  # network file systems do not lock folders
        logger.debug('could not lock data directory "%s": %s', pgdata, error)
