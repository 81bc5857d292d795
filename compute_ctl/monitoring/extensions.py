"""Counts at intervals in how many databases each extension is installed.

It must not delay anything else: one connection at a time, each with a deadline, and none while a
refresh is wanted or the server is suspected of waiting for its storage.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.errors import ProbeError
from compute_ctl.monitoring.neon_metrics import Installed
from compute_ctl.sql.session import PgSession

logger = logging.getLogger(__name__)

APPLICATION: Final = "compute_ctl:installed_extensions"
MAX_DATABASES: Final = 500
TOTAL_S: Final = 60.0
DATABASE_S: Final = 5.0
THREAD_MARGIN_S: Final = 5.0
QUIET_POLL_S: Final = 1.0
SOONEST_S: Final = 60.0
"""Between two counts, however short a document says that the compute may live."""

Rows = list[tuple[str | None, ...]]
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
    """Whether nothing more important goes on, and the server can be asked; called in the event
    loop's thread."""
    on_extensions: Callable[[Mapping[Installed, int]], None]
    """Called with each complete count."""
    interval_s: Callable[[], float]
    """Seconds between two counts, as wanted now."""
    total_s: float = TOTAL_S
    _worker: BlockingWorker = field(default_factory=lambda: BlockingWorker("extensions"))

    async def run(self) -> None:
        """Count at intervals, until cancelled."""
        clock = asyncio.get_running_loop().time
        counted_at = -math.inf
        while True:
            left = counted_at + max(self.interval_s(), SOONEST_S) - clock()
            if left > 0:
                await asyncio.sleep(min(left, SOONEST_S))  # the interval may become shorter
            elif self.quiet():
                counted_at = clock()
                await self.count()
            else:
                await asyncio.sleep(QUIET_POLL_S)

    async def count(self) -> None:
        """Count once; on a failure the last count stays. Never raises."""
        try:
            found = await self._count()
        except (ProbeError, TimeoutError) as error:
            logger.debug("could not count the extensions: %s", error)
        except Exception:  # a bug here must not stop the daemon
            logger.exception("could not count the extensions")
        else:
            if found is not None:
                self.on_extensions(found)

    async def _count(self) -> Mapping[Installed, int] | None:
        """Count in all databases; None if it was given up for something more important."""
        deadline = time.monotonic() + self.total_s
        counts: Counter[Installed] = Counter()
        for (database,) in await self._ask(_DATABASES, None, deadline):
            if not self.quiet():
                return None
            try:
                rows = await self._ask(_EXTENSIONS, database, deadline)
            except ProbeError:
                if time.monotonic() >= deadline:
                    raise
                continue  # dropped in the meantime, or it refuses connections
            counts.update((name or "", version or "", su == "t") for name, version, su in rows)
        return counts

    async def _ask(self, sql: str, database: str | None, deadline: float) -> Rows:
        return await self._worker.run(
            lambda: self._query(sql, database, deadline),
            within_s=DATABASE_S + THREAD_MARGIN_S,
        )

    def _query(self, sql: str, database: str | None, deadline: float) -> Rows:
        """Ask in a session of its own; in a thread."""
        session = PgSession(
            self.connstr,
            min(deadline, time.monotonic() + DATABASE_S),
            application_name=APPLICATION,
            dbname=database,
            options={"role": "none"},
        )
        with closing(session):
            session.connect()
            return session.query(sql)
