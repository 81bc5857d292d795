"""Entry point: `compute_ctl run ...`, bare flags for the same, or another command.

Exit status: 0 done, 1 failed or a negative outcome, 2 usage, 3 no daemon there, 4 not permitted;
`run` exits with the status of Postgres. Each branch imports only what it needs.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence

from compute_common import log
from compute_common.cli.exit_codes import fail
from compute_common.errors import ComputeError
from compute_ctl.cli.exit_codes import COMPLETION_VARIABLE, PROGRAM


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
        gc.disable()  # until the end of the start, which makes next to no garbage
        from compute_ctl import app  # slow to import, so after the flags were checked

        return app.run(options.settings)
    except ComputeError as error:
        return fail(PROGRAM, error)


if __name__ == "__main__":
    sys.exit(main())
