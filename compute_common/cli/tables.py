"""Tables on a terminal; the only user of rich here, imported when a command prints one."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH: Final = 240


def show(renderable: RenderableType) -> None:
    """Print to stdout; without colours, and with long lines, if that is no terminal."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(highlight=False, width=width).print(renderable)


def table(
    title: str | None,
    columns: tuple[str, ...],
    rows: Iterable[tuple[Any, ...]],
    *,
    long: Collection[str],
) -> Table:
    """Return a table; the columns named in *long* may wrap."""
    found = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        found.add_column(column, header_style="bold", overflow="fold", no_wrap=column not in long)
    for row in rows:
        found.add_row(*(one if isinstance(one, Text) else Text(cell(one)) for one in row))
    return found


def cell(value: object) -> str:
    """Return *value* as it stands in a table, a hyphen for nothing."""
    return "-" if value is None or value == "" else str(value)
