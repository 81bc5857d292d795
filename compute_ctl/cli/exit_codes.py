"""Exit codes, errors and warnings on stderr. The daemon loads this too, so no click in here."""

from __future__ import annotations

import sys
from typing import Final

from compute_common import log
from compute_common.errors import ComputeError

PROGRAM: Final = "compute_ctl"
COMPLETION_VARIABLE: Final = "_COMPUTE_CTL_COMPLETE"
"""Set by a shell that asks for completions."""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_NOT_PERMITTED: Final = 4
EPILOG: Final = (
    "Exit status: 0 done; 1 failed or a negative outcome; 2 usage; 3 no daemon there "
    "(explain: no server); "
    "4 not permitted. Flags without a command mean `run`."
)
"""Last lines of the help of each command."""


class CommandError(ComputeError):
    """A command failed; `exit_code` is what it ends with."""

    def __init__(self, exit_code: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def print_error(message: str, hint: str | None = None) -> None:
    """Print an error, and what to do about it, to stderr."""
    sys.stderr.write(f"{PROGRAM}: error: {log.escape(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {log.escape(hint)}\n")


def print_warning(message: str) -> None:
    """Print a warning to stderr."""
    sys.stderr.write(f"{PROGRAM}: warning: {log.escape(message)}\n")
