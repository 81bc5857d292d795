"""Carries a plan out. Blocking: for a thread of its own.

Every wait ends at the deadline, and the server is told the same one, so that nothing goes on there
for longer than here. How many databases are worked on at once is bounded.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from compute_ctl.catalog.desired import DesiredCatalog
from compute_ctl.catalog.overrides import SizeLimitOverride
from compute_ctl.catalog.plan import plan
from compute_ctl.catalog.sessions import open_session, read_catalog, with_extensions
from compute_ctl.catalog.steps import Phase, Statement, Work
from compute_ctl.errors import CatalogError, ProbeError, SqlError
from compute_ctl.redact import redact
from compute_ctl.sql.session import PgSession

logger = logging.getLogger(__name__)

MAX_CONCURRENCY: Final = 16
"""A document may ask for more; connections are scarce."""
QUERY_CANCELED: Final = "57014"


@dataclass(kw_only=True)
class PlanExecutor:
    """One run of catalog work on the server of one connection string."""

    connstr: str = field(repr=False)
    deadline: float
    """Monotonic seconds."""
    privileged: str
    may_replicate: bool = True
    """Of the privileged role, where it is made."""
    concurrency: int = 1
    """Databases worked on at once; 0 means 1."""
    size_limit: SizeLimitOverride | None = None
    """Lifted while statements run."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set from outside to end the run after the statements that run now."""
    done: int = 0
    """Steps that have succeeded."""
    timeouts: int = 0
    """Statements that the server has cancelled at the deadline."""
    _failures: list[str] = field(default_factory=list)

    def run(self, wanted: DesiredCatalog) -> bool:
        """Make the catalog as *wanted*; False where the server is a standby, which cannot be.

        Raises:
            CatalogError: some of it failed; what was done stays done.
        """
        try:
            return self._run(wanted)
        except ProbeError as error:
            raise CatalogError(redact(str(error))) from None

    def _run(self, wanted: DesiredCatalog) -> bool:
        session = open_session(self.connstr, self.deadline)
        try:
            catalog = read_catalog(session)
            if catalog.in_recovery:
                return False
            catalog = with_extensions(session, catalog)
            phases = plan(
                wanted, catalog, privileged=self.privileged, may_replicate=self.may_replicate
            )
            if not phases:
                return True
            if self.size_limit is None:
                self._work_off(phases, session)
            else:
                with self.size_limit.lifted(session):
                    self._work_off(phases, session)
        finally:
            session.close()
        return True

    def _work_off(self, phases: tuple[Phase, ...], session: PgSession) -> None:
        for phase in phases:
            logger.debug("catalog: %s", phase.name)
            for work in phase.work:
                if work.database is None:
                    self._steps(session, work)
            self._in_databases(deque(work for work in phase.work if work.database is not None))
            self._check(phase)

    def _check(self, phase: Phase) -> None:
        if self._failures:
            more = f" (and {len(self._failures) - 1} more)" if len(self._failures) > 1 else ""
            raise CatalogError(f"{self._failures[0]}{more}")
        if self.stopped.is_set():
            raise CatalogError(f"stopped after {phase.name}: something newer is wanted")

    def _in_databases(self, queue: deque[Work]) -> None:
        """Let some threads take work off *queue*; each has one connection at a time."""
        count = min(max(self.concurrency, 1), MAX_CONCURRENCY, len(queue))
        threads = [
            threading.Thread(target=self._take, args=(queue,), name=f"catalog-{n}", daemon=True)
            for n in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()  # each of its waits ends at the deadline

    def _take(self, queue: deque[Work]) -> None:
        while queue and not self.stopped.is_set():
            try:
                work = queue.popleft()
            except IndexError:
                return
            try:
                session = open_session(self.connstr, self.deadline, dbname=work.database)
            except ProbeError as error:
                self._failed(f'connect to database "{work.database}"', error)
                continue
            try:
                self._steps(session, work)
            finally:
                session.close()

    def _steps(self, session: PgSession, work: Work) -> None:
        for step in work.steps:
            try:
                self._step(session, step)
            except SqlError as error:
                self.timeouts += error.sqlstate == QUERY_CANCELED
                self._failed(step.what, error)
            except ProbeError as error:
                self._failed(step.what, error)
                return  # the session is of no use any more
            else:
                self.done += 1
                logger.info("catalog: %s", step.what)

    def _step(self, session: PgSession, step: Statement) -> None:
        session.query(f"SET statement_timeout = {max(1, int(session.left_s * 1000))}")
        rows = session.query(step.sql)
        if step.expand:
            for (statement,) in rows:
                session.query(statement or "")

    def _failed(self, what: str, error: ProbeError) -> None:
        self._failures.append(redact(f"could not {what}: {error}"))
        logger.warning("catalog: %s", self._failures[-1])
