"""Text that may come from anybody, made fit for a message. A leaf, pure."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def has_control(text: str) -> bool:
    """Return whether *text* holds a control character (NUL, newline, tab, DEL and the like)."""
    return _CONTROL.search(text) is not None


def printable(text: str, limit: int = 60) -> str:
    """Return *text* fit for a message: escaped and cut at *limit* characters."""
    shown = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    return shown if len(shown) <= limit else shown[:limit] + "…"
