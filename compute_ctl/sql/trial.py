"""Tries settings in a session of the running server, without effect.

All are set by one statement, and only until its end (`set_config` with `is_local`): an error leaves
none of them set either. The statement sets nothing unless every one of them is known to the server
as a setting that a session may change at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from compute_ctl.errors import ProbeError
from compute_ctl.sql.kept_session import KeptSession
from compute_ctl.sql.quoting import literal

logger = logging.getLogger(__name__)


_STATEMENT: Final = """\
SELECT CASE WHEN (
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_settings
    WHERE pg_catalog.lower(name) IN (NAMES) AND context IN ('user', 'superuser')
) = NUMBER THEN pg_catalog.num_nonnulls(CALLS) = NUMBER END"""


class SqlTrial:
    """Tries settings in a session that is kept for other questions."""

    def __init__(self, session: KeptSession) -> None:
        self._session = session

    async def accepts(self, settings: Mapping[str, str], *, within_s: float) -> bool:
        """Return whether the server certainly takes all of *settings*; never raises.

        False also where the session is not open or not free, or has no answer *within_s*.
        """
        try:
            rows = await self._session.ask_at_once(statement(settings), within_s=within_s)
        except (
            ProbeError,
            TimeoutError,
            RuntimeError,
        ) as error:  # RuntimeError: no thread could be started
            logger.debug("the server did not take new settings in a trial: %s", error)
            return False
        return rows == [("t",)]


def statement(settings: Mapping[str, str]) -> str:
    """Return the statement that tries *settings*; its only value is true if all were taken."""
    names = ", ".join(map(literal, settings))
    calls = ", ".join(
        f"pg_catalog.set_config({literal(name)}, {literal(value)}, true)"
        for name, value in settings.items()
    )
    return (
        _STATEMENT.replace("NUMBER", str(len(settings)))
        .replace("NAMES", names)
        .replace("CALLS", calls)
    )
