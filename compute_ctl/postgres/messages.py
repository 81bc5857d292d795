"""What the server's own log says of its start. Pure.

The texts are those of PostgreSQL 13 to 18, untranslated: the daemon sets ``lc_messages``. Whatever
is in another language is not recognised.
"""

from __future__ import annotations

import re
from typing import Final

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
    """Listens to one start of the server for the reason of its end."""

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
        """Return the FATAL message, and the complaint before it that may say more; '' for none."""
        if self._fatal and self._cause:
            return f"{self._fatal} ({self._cause})"
        return self._fatal
