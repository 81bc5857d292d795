"""Exit codes, errors and warnings on stderr. The daemons load this too, so no click in here."""

from __future__ import annotations

import sys
from typing import Final

from compute_common import log
from compute_common.errors import ComputeError, SettingsError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_NOT_PERMITTED: Final = 4


class CommandError(ComputeError):
    """A command failed; `exit_code` is what it ends with."""

    def __init__(self, exit_code: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def print_error(program: str, message: str, hint: str | None = None) -> None:
    """Print an error of *program*, and what to do about it, to stderr."""
    sys.stderr.write(f"{program}: error: {log.escape(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {log.escape(hint)}\n")


def fail(program: str, error: ComputeError) -> int:
    """Print why a command of *program* failed; return its exit status."""
    print_error(program, str(error), error.hint)
    if isinstance(error, CommandError):
        return error.exit_code
    return EXIT_USAGE if isinstance(error, SettingsError) else EXIT_FAILED


def print_warning(program: str, message: str) -> None:
    """Print a warning of *program* to stderr."""
    sys.stderr.write(f"{program}: warning: {log.escape(message)}\n")
