"""Entry point: `compute_ctl run ...`, bare flags for the same, or a command for people.

Exit status: 0 done, 1 failed or a negative outcome, 2 usage, 3 no daemon there, 4 not permitted;
`run` ends with Postgres's own. What only people's commands need is imported only for them.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from compute_ctl import log
from compute_ctl.cli.ending import COMPLETION_VARIABLE, EXIT_FAILED, EXIT_USAGE, PROGRAM, complain
from compute_ctl.errors import ComputeError, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if _is_run(words):
        return _run(words[1:] if words[:1] == ["run"] else words)
    from compute_ctl.cli.commands import run_command

    return run_command(words)


def _is_run(words: list[str]) -> bool:
    if COMPLETION_VARIABLE in os.environ or not words:
        return False
    return words[0] == "run" or (
        words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")
    )


def _run(words: list[str]) -> int:
    from compute_ctl.cli.checks import check
    from compute_ctl.cli.run import parse

    try:
        options = parse(words, os.environ)
        check(options)
        log.configure(options.settings.log_format, level=options.settings.log_level)
        for warning in options.warnings:
            logging.getLogger(PROGRAM).warning(warning)
        from compute_ctl import app  # most of the start: a wrong flag is told before

        return app.run(options.settings)
    except SettingsError as error:
        complain(str(error), error.hint)
        return EXIT_USAGE
    except ComputeError as error:
        complain(str(error), error.hint)
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
