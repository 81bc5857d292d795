"""Quoting of names and texts in SQL statements. Pure.

For statements that take no parameters (CREATE ROLE and the like). The result means the same
whatever `standard_conforming_strings` and `backslash_quote` say.
"""

from __future__ import annotations

from typing import Final

from compute_common.text import printable
from compute_ctl.errors import CatalogError

MAX_NAME_BYTES: Final = 63
"""NAMEDATALEN - 1: the server truncates longer names silently."""


def check_object_name(name: str, what: str) -> None:
    """Refuse what cannot be the name of an object; *what* names the object in the error.

    Raises:
        CatalogError: empty, with a NUL, or too long.
    """
    if not name:
        raise CatalogError(f"{what} has an empty name")
    if "\0" in name:
        raise CatalogError(f'{what} "{printable(name)}" has a NUL in its name')
    if len(name.encode()) > MAX_NAME_BYTES:
        raise CatalogError(
            f'name of {what} "{printable(name, 100)}" is longer than {MAX_NAME_BYTES} bytes'
        )


def identifier(name: str) -> str:
    """Return *name* as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return *text* as a string constant."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted
