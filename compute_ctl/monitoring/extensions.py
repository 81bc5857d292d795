"""Counts in how many databases each extension is, now and then.

Never in the way of anything: one connection at a time, each with a deadline, and none while a
refresh is wanted or the server is suspected of waiting for its storage.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from compute_ctl.errors import ProbeError
from compute_ctl.monitoring.neon_metrics import Installed
from compute_ctl.sql.session import PgSession
from compute_ctl.system.daemon_thread import Room

logger = logging.getLogger(__name__)

APPLICATION: Final = "compute_ctl:installed_extensions"
MAX_DATABASES: Final = 500
TOTAL_S: Final = 60.0
DATABASE_S: Final = 5.0
THREAD_MARGIN_S: Final = 5.0
QUIET_POLL_S: Final = 1.0
SOONEST_S: Final = 60.0
"""Between two counts, however short a document says that the compute may live."""

AUDIT_INTERVAL_S: Final = 30.0
MAX_FILES: Final = 10_000

_DATABASES: Final = f"""\
SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2
ORDER BY oid LIMIT {MAX_DATABASES}"""  # noqa: S608 (a constant)
_EXTENSIONS: Final = "SELECT extname, extversion, extowner = 10 FROM pg_extension"
"""10 is the superuser that initdb made."""


@dataclass(kw_only=True)
class ExtensionCount:
    """Counts on one server; `run` is its task."""

    connstr: str = field(repr=False)
    quiet: Callable[[], bool]
    """Whether nothing more important goes on, and the server can be asked."""
    on_extensions: Callable[[Mapping[Installed, int]], None]
    """Told of every count that was complete."""
    interval_s: Callable[[], float]
    """Seconds between two counts, as wanted now."""
    total_s: float = TOTAL_S
    _room: Room = field(default_factory=Room)

    async def run(self) -> None:
        """Count, and count again after the interval."""
        counted_at: float | None = None
        while True:
            now = asyncio.get_running_loop().time()
            interval = max(self.interval_s(), SOONEST_S)
            if self.quiet() and (counted_at is None or now - counted_at >= interval):
                await self.count()
                counted_at = now
            await asyncio.sleep(QUIET_POLL_S)

    async def count(self) -> None:
        """Count once; what cannot be counted leaves the last count as it is. Never raises."""
        try:
            found = await self._room.run(
                self._count, name="extensions", within_s=self.total_s + THREAD_MARGIN_S
            )
        except (ProbeError, TimeoutError) as error:
            logger.debug("could not count the extensions: %s", error)
        except Exception:  # a mistake of ours here must not cost a heal
            logger.exception("could not count the extensions")
        else:
            if found is not None:
                self.on_extensions(found)

    def _count(self) -> Mapping[Installed, int] | None:
        """Count in all databases; None where something more important came up."""
        deadline = time.monotonic() + self.total_s
        counts: Counter[Installed] = Counter()
        for (database,) in self._ask(_DATABASES, None, deadline):
            if not self.quiet():
                return None
            try:
                rows = self._ask(_EXTENSIONS, database, deadline)
            except ProbeError:
                if time.monotonic() >= deadline:
                    raise
                continue  # it was dropped meanwhile, or lets nobody in
            counts.update((name or "", version or "", su == "t") for name, version, su in rows)
        return counts

    def _ask(self, sql: str, database: str | None, deadline: float) -> list[tuple[str | None, ...]]:
        session = PgSession(
            self.connstr,
            min(deadline, time.monotonic() + DATABASE_S),
            application_name=APPLICATION,
            dbname=database,
            options={"role": "none"},
        )
        try:
            session.connect()
            return session.query(sql)
        finally:
            session.close()


@dataclass(kw_only=True)
class AuditLog:
    """Measures the audit log of a server; `run` is its task."""

    folder: Path
    kept: Callable[[], bool]
    """Whether there is to be one."""
    on_size: Callable[[int], None]
    _room: Room = field(default_factory=Room)

    async def run(self) -> None:
        """Measure again and again."""
        while True:
            if self.kept():
                try:
                    size = await self._room.run(
                        self.size, name="audit-log", within_s=AUDIT_INTERVAL_S
                    )
                except TimeoutError:
                    logger.warning('could not measure "%s" in time', self.folder)
                else:
                    self.on_size(size)
            await asyncio.sleep(AUDIT_INTERVAL_S)

    def size(self) -> int:
        """Return the bytes in the folder's files, 0 where there is none."""
        total = 0
        try:
            for count, path in enumerate(self.folder.iterdir()):
                if count == MAX_FILES:
                    break
                with suppress(FileNotFoundError):  # rotated away meanwhile
                    total += path.lstat().st_size
        except OSError as error:
            logger.debug('could not measure "%s": %s', self.folder, error.strerror)
        return total
