"""Settings as a command line names them."""

from __future__ import annotations

from collections.abc import Iterable

import click


def parse_settings(words: Iterable[str], remove: Iterable[str]) -> dict[str, str | None]:
    """Return the values of *words*, each ``NAME=VALUE``, and None for each name of *remove*.

    Raises:
        click.UsageError: a word is something else.
    """
    values: dict[str, str | None] = dict.fromkeys(remove)
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f'"{word}" is not NAME=VALUE')
        values[name] = value
    return values
