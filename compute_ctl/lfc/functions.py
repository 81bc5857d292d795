"""The functions of Neon's extension that read the state of the file cache and load it again.

Blocking: for a thread. Their names and arguments are those of extension `neon` from 1.6 on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Final

from compute_ctl.errors import FileCacheError, ProbeError
from compute_ctl.lfc.compression import MAX_STATE_BYTES
from compute_ctl.sql.session import PgSession

APPLICATION: Final = "compute_ctl:file_cache"
LOOK_S: Final = 5.0
READ_S: Final = 60.0
PREWARM_S: Final = 1800.0
"""Reading all pages of a large cache again takes long; the server ends it after this time."""
CANCELS: Final = 50
CANCEL_EVERY_S: Final = 0.1
NAMES: Final = ("get_local_cache_state", "prewarm_local_cache", "get_prewarm_info")

_OPTIONS: Final = {
    "role": "none",
    "log_statement": "none",  # a state has megabytes
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
    "pg_stat_statements.track": "none",
    "pgaudit.log": "none",
}
_FUNCTIONS: Final = """\
SELECT proname FROM pg_proc
JOIN pg_namespace ON pg_namespace.oid = pronamespace
JOIN pg_roles AS maker ON maker.oid = proowner
JOIN pg_roles AS owner ON owner.oid = nspowner
WHERE nspname = 'neon' GROUP BY proname HAVING bool_and(maker.rolsuper AND owner.rolsuper)"""
"""A superuser calls them, so what others have made under these names does not count."""
_STATE: Final = f"""\
SELECT octet_length(state), CASE WHEN octet_length(state) <= {MAX_STATE_BYTES} THEN
encode(state, 'hex') END FROM (SELECT neon.get_local_cache_state() AS state OFFSET 0) AS one"""  # noqa: S608 (a constant)
_PREWARM: Final = "SELECT neon.prewarm_local_cache(decode('{state}', 'hex'))"
_INFO: Final = "SELECT total_pages, prewarmed_pages, skipped_pages FROM neon.get_prewarm_info()"


class Prewarming:
    """One prewarm in the server."""

    def __init__(self, session: Callable[[], AbstractContextManager[PgSession]]) -> None:
        self._open = session
        self._session: PgSession | None = None
        self._cancelled, self._ended = threading.Event(), threading.Event()

    def run(self, state: bytes) -> tuple[int, int, int]:
        """Load *state*; return how many pages it names, were loaded, and were there already.

        Raises:
            FileCacheError: it does not say how that went.
            ProbeError: Postgres refuses, or does not end in time, or `cancel` was called.
        """
        with self._open() as session:
            self._session = session
            try:
                if self._cancelled.is_set():
                    raise ProbeError("the prewarm is cancelled")
                session.query(_PREWARM.format(state=state.hex()))
                found = session.query(_INFO)
            finally:
                self._session = None
                self._ended.set()
        if len(found) != 1:
            raise FileCacheError(f"neon.get_prewarm_info returned {len(found)} rows")
        total, prewarmed, skipped = (int(value or 0) for value in found[0])
        return total, prewarmed, skipped

    def cancel(self) -> None:
        """Have the server end it; from any thread.

        A request that comes before the query has begun is without effect, so there are several.
        """
        self._cancelled.set()
        for _ in range(CANCELS):
            session = self._session
            if session is None:
                return
            with suppress(ProbeError):
                session.cancel()
            if self._ended.wait(CANCEL_EVERY_S):
                return


class CacheFunctions:
    """Calls them on one server."""

    def __init__(self, connstr: str) -> None:
        """*connstr* is a superuser's."""
        self._connstr = connstr

    def missing(self) -> str | None:
        """Return the first one that the server does not have. Raises ProbeError."""
        with self._session(LOOK_S) as session:
            found = {name for (name,) in session.query(_FUNCTIONS)}
        return next((name for name in NAMES if name not in found), None)

    def read(self) -> bytes | None:
        """Return the state, None for an empty cache. Raises FileCacheError, ProbeError."""
        with self._session(READ_S) as session:
            ((size, state),) = session.query(_STATE)
        if size is None:
            return None
        if state is None:
            raise FileCacheError(f"the state has {size} bytes, more than {MAX_STATE_BYTES}")
        return bytes.fromhex(state)

    def prewarming(self) -> Prewarming:
        """Return what loads a state, once."""
        return Prewarming(lambda: self._session(PREWARM_S))

    @contextmanager
    def _session(self, within_s: float) -> Iterator[PgSession]:
        session = PgSession(
            self._connstr,
            time.monotonic() + within_s,
            application_name=APPLICATION,
            options=_OPTIONS,
        )
        try:
            session.connect()
            yield session
        finally:
            session.close()
