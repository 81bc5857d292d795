"""The argument FILE of the commands that read a document."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compute_ctl.cli.client import ClientError, may_not_read
from compute_ctl.cli.ending import EXIT_USAGE


def read(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, bytes] | None:
    """Return name, for people, and content of the file *value*, - for stdin; a click callback.

    Raises:
        ClientError: it cannot be read.
    """
    del context, parameter
    if value is None:
        return None
    if value == "-":
        return "standard input", sys.stdin.buffer.read()
    path = Path(value)
    try:
        return value, path.read_bytes()
    except PermissionError as error:
        raise may_not_read(path) from error
    except OSError as error:
        raise ClientError(EXIT_USAGE, f'could not read "{path}": {error.strerror}') from error
