"""Neon's limit on the size of a cluster, lifted while catalog work runs.

The setting cannot be changed for one session, so it is overridden by a file that the configuration
includes. The file must never stay: it is removed whatever happens, the removal is checked on the
server, and one that a crash has left is removed at the next start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from compute_ctl.document.render import SIZE_LIMIT, SIZE_LIMIT_OVERRIDE
from compute_ctl.errors import CatalogError, PostgresError, ProbeError
from compute_ctl.sql.session import PgSession
from compute_ctl.system.atomic_file import ReplacedFile, sync_folder

logger = logging.getLogger(__name__)

UNLIMITED: Final = "-1"
VERIFY_S: Final = 5.0
_BETWEEN_LOOKS_S: Final = 0.05

_CURRENT: Final = f"SELECT current_setting('{SIZE_LIMIT}', true)"
_IN_FILES: Final = (
    f"SELECT setting FROM pg_file_settings WHERE name = '{SIZE_LIMIT}' ORDER BY seqno DESC LIMIT 1"  # noqa: S608 (a constant)
)


class SizeLimitOverride:
    """The limit of one server; for one thread at a time."""

    def __init__(self, folder: Path, *, reload: Callable[[], bool]) -> None:
        """*folder* is the data directory, *reload* sends SIGHUP to the server."""
        self._path = folder / SIZE_LIMIT_OVERRIDE
        self._reload = reload
        self.doubtful = False
        """The server may still run without a limit."""

    @contextmanager
    def lifted(self, session: PgSession) -> Iterator[None]:
        """Lift the limit for the time of the block, where the server of *session* has one.

        Raises:
            CatalogError: it could not be lifted, or not be put back for certain.
        """
        if _value(session, _CURRENT) in (None, "", UNLIMITED):
            yield
            return
        try:
            self._write()
            _wait("lifted", lambda: _value(session, _CURRENT) == UNLIMITED)
            yield
        finally:
            self.remove()
            session.deadline = max(session.deadline, time.monotonic() + VERIFY_S)
            with suppress(CatalogError, ProbeError):
                self.verify(session)
        if self.doubtful:
            raise CatalogError(f'could not see setting "{SIZE_LIMIT}" put back')

    def _write(self) -> None:
        self.doubtful = True
        line = f"{SIZE_LIMIT} = {UNLIMITED}\n"
        try:
            # The server must be able to read it, whoever wrote it: else it skips it silently.
            ReplacedFile(self._path, new_mode=0o644, reserve_bytes=0).replace(line.encode())
        except OSError as error:
            raise CatalogError(
                f'could not write file "{self._path}": {error.strerror or error}'
            ) from error
        self._tell()

    def remove(self) -> bool:
        """Remove the file and tell the server; False where there was none. Never raises."""
        found = True
        try:
            self._path.unlink()
            self.doubtful = True
            sync_folder(self._path.parent)
        except FileNotFoundError:
            found = False
        except OSError as error:
            self.doubtful = True
            logger.error('could not remove file "%s": %s', self._path, error.strerror or error)
        if self.doubtful:
            self._tell()
        return found

    def _tell(self) -> None:
        try:
            self._reload()
        except PostgresError as error:
            logger.error("%s", error)

    def verify(self, session: PgSession) -> None:
        """Wait until the server of *session* has what the other files say.

        Raises:
            CatalogError: it does not, or the file is still there.
            ProbeError: it does not say.
        """
        if self._path.exists():
            raise CatalogError(f'could not remove file "{self._path}"')

        def as_in_files() -> bool:
            return _value(session, _CURRENT) != UNLIMITED or _value(session, _IN_FILES) == UNLIMITED

        _wait("put back", as_in_files)
        self.doubtful = False


def _value(session: PgSession, sql: str) -> str | None:
    rows = session.query(sql)
    return rows[0][0] if rows else None


def _wait(what: str, arrived: Callable[[], bool]) -> None:
    end = time.monotonic() + VERIFY_S
    while not arrived():
        if time.monotonic() > end:
            raise CatalogError(f'setting "{SIZE_LIMIT}" was not {what} within {VERIFY_S:g} s')
        time.sleep(_BETWEEN_LOOKS_S)
