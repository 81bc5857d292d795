"""How this command names itself in errors, warnings and help."""

from __future__ import annotations

from typing import Final

from compute_common.cli import exit_codes

PROGRAM: Final = "compute_ctl"
COMPLETION_VARIABLE: Final = "_COMPUTE_CTL_COMPLETE"
"""Set by a shell that asks for completions."""
EPILOG: Final = (
    "Exit status: 0 done; 1 failed or a negative outcome; 2 usage; 3 no daemon there "
    "(explain: no server); "
    "4 not permitted. Flags without a command mean `run`."
)
"""Last lines of the help of each command."""


def print_error(message: str, hint: str | None = None) -> None:
    """Print an error, and what to do about it, to stderr."""
    exit_codes.print_error(PROGRAM, message, hint)


def print_warning(message: str) -> None:
    """Print a warning to stderr."""
    exit_codes.print_warning(PROGRAM, message)
