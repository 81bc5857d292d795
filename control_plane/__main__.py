"""Entry point: `compute_control_plane COMMAND`.

Slow imports come after the signal handlers of `run`, so that a signal ends a start, too.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and words[:1] == ["run"]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)  # `app.main` replaces it by an orderly end
    from control_plane.cli.commands import run_command

    return run_command(words)


def _end(_number: int, _frame: object) -> None:
    """End the process while it starts; it has not answered anybody yet."""
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
