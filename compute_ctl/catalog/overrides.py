"""Two settings that are overridden by a file for a while.

Neither can be changed for one session, so each has a file of its own that the configuration
includes while it exists. The server must be able to read the file, whoever wrote it: an unreadable
one is skipped silently.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from compute_common.system.atomic_file import ReplacedFile, sync_folder
from compute_ctl.document.render import (
    SIZE_LIMIT,
    SIZE_LIMIT_OVERRIDE,
    SUBSCRIBERS,
    SUBSCRIBERS_HOLD,
)
from compute_ctl.errors import CatalogError, PostgresError, ProbeError
from compute_ctl.sql.session import PgSession

logger = logging.getLogger(__name__)

UNLIMITED: Final = "-1"
VERIFY_S: Final = 5.0
_POLL_S: Final = 0.05

_CURRENT: Final = f"SELECT current_setting('{SIZE_LIMIT}', true)"
_IN_FILES: Final = (
    f"SELECT setting FROM pg_file_settings WHERE name = '{SIZE_LIMIT}' ORDER BY seqno DESC LIMIT 1"  # noqa: S608 (a constant)
)


class _OverrideFile:
    """A file with one setting; for one thread at a time."""

    def __init__(self, path: Path, line: str, *, reload: Callable[[], bool]) -> None:
        self.path = path
        self._line = line
        self._send_reload = reload

    def write(self) -> None:
        """Write the file. Raises CatalogError."""
        try:
            ReplacedFile(self.path, new_mode=0o644, reserve_bytes=0).replace(self._line.encode())
        except OSError as error:
            reason = error.strerror or error
            raise CatalogError(f'could not write file "{self.path}": {reason}') from error

    def remove(self) -> bool:
        """Remove the file; return False if there was none. Raises CatalogError."""
        try:
            self.path.unlink()
            sync_folder(self.path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            reason = error.strerror or error
            raise CatalogError(f'could not remove file "{self.path}": {reason}') from error
        return True

    def reload(self) -> bool:
        """Make the server read its files; return False if that failed."""
        try:
            self._send_reload()
        except PostgresError as error:
            logger.error("%s", error)
            return False
        return True


class SizeLimitOverride:
    """Lifts Neon's limit on the size of a cluster while catalog work runs.

    The file must not stay: it is removed whatever happens, the removal is verified on the server,
    and a file that a crash has left is removed at the next start. For one thread at a time.
    """

    def __init__(self, pgdata: Path, *, reload: Callable[[], bool]) -> None:
        """*reload* sends SIGHUP to the server."""
        line = f"{SIZE_LIMIT} = {UNLIMITED}\n"
        self._file = _OverrideFile(pgdata / SIZE_LIMIT_OVERRIDE, line, reload=reload)
        self.needs_verify = False
        """The server may still run without a limit."""

    @contextmanager
    def lifted(self, session: PgSession) -> Iterator[None]:
        """Lift the limit during the block, if the server of *session* has one.

        Raises:
            CatalogError: it could not be lifted, or its restoration could not be verified.
        """
        if session.value(_CURRENT) in (None, "", UNLIMITED):
            yield
            return
        try:
            self.needs_verify = True
            self._file.write()
            self._file.reload()
            _wait("lifted", lambda: session.value(_CURRENT) == UNLIMITED)
            yield
        finally:
            self.remove()
            session.deadline = max(session.deadline, time.monotonic() + VERIFY_S)
            with suppress(CatalogError, ProbeError):
                self.verify(session)
        if self.needs_verify:
            raise CatalogError(f'could not verify that setting "{SIZE_LIMIT}" is restored')

    def remove(self) -> bool:
        """Remove the file and reload the server; return False if there was none. Never raises."""
        found = True
        try:
            found = self._file.remove()
            self.needs_verify |= found
        except CatalogError as error:
            self.needs_verify = True
            logger.error("%s", error)
        if self.needs_verify:
            self._file.reload()
        return found

    def verify(self, session: PgSession) -> None:
        """Wait until the server of *session* uses the limit of the other files.

        Raises:
            CatalogError: it does not, or the file still exists.
            ProbeError: it does not answer.
        """
        if self._file.path.exists():
            raise CatalogError(f'could not remove file "{self._file.path}"')

        def restored() -> bool:
            return session.value(_CURRENT) != UNLIMITED or session.value(_IN_FILES) == UNLIMITED

        _wait("restored", restored)
        self.needs_verify = False


class SubscriberOverride:
    """Keeps logical replication subscribers from running until their subscriptions are dropped.

    A branch inherits the subscriptions of its parent. If they ran there, they would consume the
    changes that the parent is waiting for. So a server that is to drop them starts with Neon's
    setting that disables subscribers. For one thread at a time.
    """

    def __init__(self, pgdata: Path, *, reload: Callable[[], bool]) -> None:
        """*reload* sends SIGHUP to the server."""
        line = f"{SUBSCRIBERS} = true\n"
        self._file = _OverrideFile(pgdata / SUBSCRIBERS_HOLD, line, reload=reload)
        self.active = self._file.path.exists()
        """Whether the file exists, or the server has not been told that it is gone."""

    def write(self) -> None:
        """Disable subscribers in the server that is about to start. Never raises."""
        try:
            self._file.write()
        except CatalogError as error:
            logger.error("%s", error)
            return
        self.active = True
        logger.info("subscribers are disabled until their subscriptions are dropped")

    def remove(self) -> None:
        """Enable subscribers. Never raises: while `active` is still set, call it again."""
        try:
            self._file.remove()
        except CatalogError as error:
            logger.error("%s", error)
            return
        if self._file.reload():
            self.active = False
            logger.info("subscribers are enabled")


def _wait(state: str, arrived: Callable[[], bool]) -> None:
    end = time.monotonic() + VERIFY_S
    while not arrived():
        if time.monotonic() > end:
            raise CatalogError(f'setting "{SIZE_LIMIT}" was not {state} within {VERIFY_S:g} s')
        time.sleep(_POLL_S)
