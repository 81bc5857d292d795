"""Asks the safekeepers where a log ends, as Neon does before it has them agree.

That they agree already is the usual case after an orderly end, and saves the run of a program.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Final

from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.decisions.backup_request import BackupRequest
from compute_ctl.decisions.safekeeper_quorum import (
    TimelineStatus,
    addresses,
    agreed_position,
    quorum,
)
from compute_ctl.errors import ProbeError
from compute_ctl.sql.session import PgSession

ANSWER_S: Final = 0.1
"""For each to connect and answer; all are asked at once."""
THREAD_MARGIN_S: Final = 0.4
"""For a name lookup, and a busy machine."""
COMMAND: Final = "TIMELINE_STATUS"


async def agreed(request: BackupRequest, *, token: str | None) -> str | None:
    """Return where the safekeepers of *request* agree its log ends; None where that is unknown.

    A safekeeper that does not answer in time is left out. Bounded: 0.5 s.
    """
    names = addresses(request.safekeepers)
    if not names:
        return None
    worker = BlockingWorker("safekeepers", threads=len(names))
    limit = ANSWER_S + THREAD_MARGIN_S
    asked = [
        asyncio.create_task(
            worker.run(partial(_ask, name, request, token), within_s=limit, queue=True)
        )
        for name in names
    ]
    answers: list[TimelineStatus | None] = []
    try:
        for one in asyncio.as_completed(asked):
            with suppress(ProbeError, TimeoutError, RuntimeError):  # the last: no thread
                answers.append(await one)
            if len(answers) == quorum(len(names)):
                break
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        worker.shutdown()
    return agreed_position(answers, len(names))


def _ask(name: str, request: BackupRequest, token: str | None) -> TimelineStatus | None:
    """Return what the safekeeper at *name* says, None where it does not know the timeline.

    Raises:
        ProbeError: it does not answer in time, or not that.
    """
    import_module("psycopg.pq")  # it may take longer than the answer
    host, _, port = name.rpartition(":")
    session = PgSession(
        f"user=no_user sslmode=disable host='{host.strip('[]')}' port={port}",
        time.monotonic() + ANSWER_S,
        options={"tenant_id": request.tenant, "timeline_id": request.timeline},
        password=token,
        peer=f"safekeeper {name}",
    )
    try:
        session.connect()
        rows = session.query(COMMAND)
    finally:
        session.close()
    match rows:
        case []:
            return None
        case [(str(flush), str(commit), *_)]:
            return TimelineStatus(flush_lsn=flush, commit_lsn=commit)
        case _:
            raise ProbeError(f"safekeeper {name} answered {COMMAND} with something else")
