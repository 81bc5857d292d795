"""The limit of open files. A leaf."""

from __future__ import annotations

import logging
import resource
from typing import Final

from compute_common.errors import SettingsError

logger = logging.getLogger(__name__)

WANTED: Final = 1024
"""Of `compute_ctl`: full listeners, the source, a look over SQL, a check, the files themselves."""
LEAST: Final = 64


def raise_file_limit(wanted: int = WANTED, *, warns: bool = True) -> int:
    """Raise the soft limit to *wanted* as far as allowed; return the number of open files allowed.

    *warns*: log a warning where it stays lower.

    Raises:
        SettingsError: the daemon cannot work with so few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    usable = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if usable > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usable, hard))
    if usable < LEAST:
        raise SettingsError(
            f"the limit of open files is {usable}, at least {LEAST} are needed",
            hint="Raise it: LimitNOFILE= in the unit, or ulimit -n.",
        )
    if usable < wanted and warns:
        logger.warning(
            "the limit of open files is %d, %d are wanted: the API takes fewer connections",
            usable,
            wanted,
        )
    return usable
