"""How the program ends, and complains. A leaf, for the daemon too: loads nothing for people."""

from __future__ import annotations

import sys
from typing import Final

from compute_ctl import log

PROGRAM: Final = "compute_ctl"
COMPLETION_VARIABLE: Final = "_COMPUTE_CTL_COMPLETE"
"""By which a shell asks for the words that could come next."""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_NOT_PERMITTED: Final = 4


def complain(message: str, hint: str | None = None) -> None:
    """Say on stderr what is wrong and what to do."""
    sys.stderr.write(f"{PROGRAM}: error: {log.escape(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {log.escape(hint)}\n")
