"""Messages of the server's log about its start and about reloads. Pure.

The texts are those of PostgreSQL 13 to 18, untranslated: the daemon sets ``lc_messages``. Whatever
is in another language is not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from compute_ctl.decisions.reload_errors import Part, ReloadError
from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.postgres.logs import JOINT

_MESSAGE: Final = re.compile(r"\b(LOG|WARNING|ERROR|FATAL|PANIC):\s+(.*)", re.DOTALL)
_CAUSE: Final = re.compile(r"could not |unrecognized |invalid |syntax error|parameter \"")
_LIMIT: Final = 500
"""Characters of a message that are shown."""


def message_of(record: str) -> tuple[str, str] | None:
    """Return severity and text of a record of the log, None where it is no message."""
    first, _, _ = record.partition(JOINT)
    found = _MESSAGE.search(first)
    return (found[1], found[2].strip()[:_LIMIT]) if found else None


class StartLog:
    """Collects the messages of one start that say why it failed."""

    def __init__(self) -> None:
        self._cause = ""
        self._fatal = ""

    def take(self, record: str) -> None:
        """Take one record of the log."""
        found = message_of(record)
        if found is None:
            return
        severity, text = found
        if severity in ("FATAL", "PANIC"):
            self._fatal = self._fatal or text
        elif not self._fatal and not self._cause and _CAUSE.match(text):
            self._cause = text

    @property
    def failure(self) -> str:
        """Return the FATAL message, with the message before it that may say more; '' for none."""
        if self._fatal and self._cause:
            return f"{self._fatal} ({self._cause})"
        return self._fatal


_RELOAD: Final = "received SIGHUP, reloading configuration files"
_MARKER: Final = re.compile(rf'parameter "{re.escape(MARKER_SETTING)}" changed to "(.*)"')
_NOT_RELOADED: Final = re.compile(r"(.*) was not reloaded")


class ReloadLog:
    """Follows reloads: which generation was read, and what was not reloaded with it."""

    def __init__(
        self, *, on_reload: Callable[[], None], on_error: Callable[[ReloadError], None]
    ) -> None:
        self._on_reload = on_reload
        self._on_error = on_error
        self._marker: str | None = None
        self._cause = ""

    def take(self, record: str) -> None:
        """Take one record of the log."""
        found = message_of(record)
        if found is None or found[0] != "LOG":
            return
        text = found[1]
        if text == _RELOAD:
            self._cause = ""
            self._on_reload()
        elif marker := _MARKER.fullmatch(text):
            self._marker = marker[1]
        elif said := _NOT_RELOADED.fullmatch(text):
            because = f" ({self._cause})" if self._cause else ""
            part, self._cause = _part(said[1]), ""
            self._on_error(ReloadError(part=part, text=text + because, marker=self._marker))
        elif not text.startswith("parameter "):
            self._cause = text


def _part(name: str) -> Part:
    """Return the part that is called *name*: from PostgreSQL 16 on a file by its path."""
    if name == "SSL configuration":
        return Part.SSL
    return Part.IDENT if "ident" in name.rpartition("/")[2] else Part.HBA
