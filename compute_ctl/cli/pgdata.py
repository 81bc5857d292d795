"""A data directory, as far as somebody who names it may look at it.

`Path.exists` and its kin raise or say no, by the version of Python, where looking is not permitted.
"""

from __future__ import annotations

import os
from pathlib import Path

from compute_ctl.cli.client import may_not_read, missing_data_directory
from compute_ctl.cli.ending import EXIT_USAGE


def require_data_directory(path: Path) -> None:
    """Raise ClientError unless *path* is a folder that may be looked at."""
    missing = missing_data_directory(path, EXIT_USAGE)
    if missing is not None:
        raise missing


def is_attached(pgdata: Path) -> bool:
    """Return whether a data directory has the file of an attached daemon.

    Raises:
        ClientError: it may not be looked at.
    """
    try:
        os.stat(pgdata / "compute_ctl.conf")  # noqa: PTH116 -- see above
    except PermissionError as error:
        raise may_not_read(pgdata) from error
    except OSError:
        return False
    return True
