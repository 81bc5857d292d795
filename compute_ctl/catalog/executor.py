"""Runs a plan on the server. Blocking, so it runs in the thread of a `BlockingWorker`.

The databases of one phase are worked on by threads of its own, which it waits for. A pool of
`concurrent.futures` would not do: at exit it waits for its threads, however long the server hangs.

Every wait ends at the deadline, which is also the server's statement_timeout, so no statement
outlives the run. The number of databases worked on concurrently is limited.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from compute_common.redact import redact
from compute_ctl.catalog.desired import DesiredCatalog
from compute_ctl.catalog.model import Phase, Statement, Work
from compute_ctl.catalog.overrides import SizeLimitOverride
from compute_ctl.catalog.plan import plan
from compute_ctl.catalog.sessions import open_session, read_catalog, with_extensions
from compute_ctl.errors import CatalogError, ProbeError, SqlError
from compute_ctl.sql.session import PgSession

logger = logging.getLogger(__name__)

MAX_CONCURRENCY: Final = 16
"""A document may ask for more, but connections are scarce."""
QUERY_CANCELED: Final = "57014"


@dataclass(kw_only=True)
class PlanExecutor:
    """One run of catalog work on the server of one connection string."""

    connstr: str = field(repr=False)
    deadline: float
    """Monotonic seconds."""
    privileged: str
    may_replicate: bool = True
    """Whether the privileged role is created with REPLICATION."""
    concurrency: int = 1
    """Databases worked on concurrently; 0 means 1."""
    size_limit: SizeLimitOverride | None = None
    """Lifted while statements run."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set from outside to end the run after the current statements."""
    done: int = 0
    """Statements that have succeeded."""
    timeouts: int = 0
    """Statements that the server cancelled at the deadline."""
    _failures: list[str] = field(default_factory=list)

    def run(self, desired: DesiredCatalog) -> bool:
        """Change the catalog to *desired*; return False for a standby, which cannot be changed.

        Raises:
            CatalogError: some of it failed; what succeeded is kept.
        """
        try:
            return self._run(desired)
        except ProbeError as error:
            raise CatalogError(redact(str(error))) from None

    def _run(self, desired: DesiredCatalog) -> bool:
        with closing(open_session(self.connstr, self.deadline)) as session:
            catalog = read_catalog(session)
            if catalog.in_recovery:
                return False
            catalog = with_extensions(session, catalog)
            phases = plan(
                desired, catalog, privileged=self.privileged, may_replicate=self.may_replicate
            )
            if not phases:
                return True
            if self.size_limit is None:
                self._run_phases(phases, session)
            else:
                with self.size_limit.lifted(session):
                    self._run_phases(phases, session)
        return True

    def _run_phases(self, phases: tuple[Phase, ...], session: PgSession) -> None:
        for phase in phases:
            logger.debug("catalog: %s", phase.name)
            for work in phase.work:
                if work.database is None:
                    self._run_work(session, work)
            self._in_databases(deque(work for work in phase.work if work.database is not None))
            self._raise_failures(phase)

    def _raise_failures(self, phase: Phase) -> None:
        if self._failures:
            more = f" (and {len(self._failures) - 1} more)" if len(self._failures) > 1 else ""
            raise CatalogError(f"{self._failures[0]}{more}")
        if self.stopped.is_set():
            raise CatalogError(f"stopped after {phase.name}: a newer document is desired")

    def _in_databases(self, queue: deque[Work]) -> None:
        """Run the work in *queue* in some threads, each with one connection at a time."""
        count = min(max(self.concurrency, 1), MAX_CONCURRENCY, len(queue))
        threads = [
            threading.Thread(
                target=self._run_queue, args=(queue,), name=f"catalog-{n}", daemon=True
            )
            for n in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()  # all its waits end at the deadline

    def _run_queue(self, queue: deque[Work]) -> None:
        while queue and not self.stopped.is_set():
            try:
                work = queue.popleft()
            except IndexError:
                return
            try:
                session = open_session(self.connstr, self.deadline, dbname=work.database)
            except ProbeError as error:
                self._record_failure(f'connect to database "{work.database}"', error)
                continue
            with closing(session):
                self._run_work(session, work)

    def _run_work(self, session: PgSession, work: Work) -> None:
        for statement in work.statements:
            try:
                self._execute(session, statement)
            except SqlError as error:
                self.timeouts += error.sqlstate == QUERY_CANCELED
                self._record_failure(statement.label, error)
            except ProbeError as error:
                self._record_failure(statement.label, error)
                return  # the session is unusable
            else:
                self.done += 1
                logger.info("catalog: %s", statement.label)

    def _execute(self, session: PgSession, statement: Statement) -> None:
        session.query(f"SET statement_timeout = {max(1, int(session.left_s * 1000))}")
        rows = session.query(statement.sql)
        if statement.expand:
            for (expanded,) in rows:
                session.query(expanded or "")

    def _record_failure(self, what: str, error: ProbeError) -> None:
        self._failures.append(redact(f"could not {what}: {error}"))
        logger.warning("catalog: %s", self._failures[-1])
