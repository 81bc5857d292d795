"""A data directory, as far as somebody who names it may look at it.

`Path.exists` and its kin raise or say no, by the version of Python, where looking is not permitted.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from compute_ctl.cli.client import may_not_read


def is_folder(path: Path) -> bool:
    """Return whether *path* is a folder. Raises ClientError: it may not be looked at."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 -- see above
    except PermissionError as error:
        raise may_not_read(path) from error
    except OSError:
        return False


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
