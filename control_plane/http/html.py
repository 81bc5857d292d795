"""A small builder of HTML in which everything that is not markup is escaped.

Ids, reasons and endpoints come from strangers: text can only get into a page through here.
"""

from __future__ import annotations

from html import escape
from typing import Final

VOID: Final = frozenset({"input", "link", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | int | None
"""`Markup` is taken as it is, everything else is escaped; None is left out."""


def join(*content: Content) -> Markup:
    """Return *content* as one piece of markup."""
    return Markup("".join(map(_escaped, content)))


def tag(name: str, /, *content: Content, **attributes: str | bool | None) -> Markup:
    """Return an element; an attribute that is None or False is left out.

    In an attribute's name a trailing underscore is dropped, others become hyphens.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    end = "" if name in VOID else f"{join(*content)}</{name}>"
    return Markup(f"<{name}{written}>{end}")


def _escaped(content: Content) -> str:
    if content is None:
        return ""
    return content if isinstance(content, Markup) else escape(str(content))
