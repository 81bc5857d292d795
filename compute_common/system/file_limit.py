"""The limit of open files. A leaf."""

from __future__ import annotations

import logging
import resource
from typing import Final

from compute_common.errors import SettingsError

logger = logging.getLogger(__name__)

WANTED: Final = 1024
"""For full listeners, the source, a look over SQL, a check, and the files themselves."""
LEAST: Final = 64


def raise_file_limit() -> int:
    """Raise the soft limit as far as useful and allowed; return the number of open files allowed.

    Raises:
        SettingsError: the daemon cannot work with so few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= WANTED:
        return WANTED
    usable = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if usable > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usable, hard))
    if usable < LEAST:
        raise SettingsError(
            f"the limit of open files is {usable}, at least {LEAST} are needed",
            hint="Raise it: LimitNOFILE= in the unit, or ulimit -n.",
        )
    if usable < WANTED:
        logger.warning(
            "the limit of open files is %d, %d are wanted: the API takes fewer connections",
            usable,
            WANTED,
        )
    return usable
