"""The start of Postgres: whether it may begin, with which generation it did, and that it failed."""

from __future__ import annotations

import asyncio
from datetime import datetime

from compute_ctl.decisions.model import StartFailure, Written
from compute_ctl.document.generation import LiveFile, Marker
from compute_ctl.ports import Postgres


class ServerStart:
    """Knows whether a server may be started, and finds out with which generation it was.

    Where this daemon starts it, that is the generation in the file at that time, unless the file is
    replaced before the server has read it, or is not as the daemon left it. Otherwise the server
    must have been started later than the file was replaced. An uncertain result counts as not
    started.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.configured = asyncio.Event()
        """Set while there is a configuration that Postgres has not failed to start with."""
        self.failure: StartFailure | None = None
        """Postgres did not start; the reconciler has not dealt with it yet."""
        self.ready_seen = False
        """Postgres has become ready; with which generation is not checked yet."""
        self._reads: Written | None = None
        """What a server that is being started reads."""

    def fail(self, reason: str, marker: Marker | None) -> None:
        """Start Postgres no more until something else is written."""
        self.failure = StartFailure(reason=reason, marker=marker)
        self.configured.clear()

    def take_failure(self) -> StartFailure | None:
        """Return the failed start that is yet to be dealt with, once."""
        failure, self.failure = self.failure, None
        return failure

    def retry(self) -> None:
        """Let Postgres be started with the live file again, after it has failed to.

        Whoever asks or pushes may have repaired what no document can: a port in use, a full disk.
        """
        if self.failure is None:
            self.configured.set()

    def ready(self) -> None:
        """Postgres has become ready."""
        self.ready_seen = True

    def take_ready(self) -> bool:
        """Return whether Postgres has become ready since this was asked last."""
        seen, self.ready_seen = self.ready_seen, False
        return seen

    def begin(self, written: Written | None) -> None:
        """The server is about to be started with *written* in the file."""
        self._reads = written

    @property
    def begun(self) -> bool:
        """Whether a server is being started, and what it reads is known."""
        return self._reads is not None

    def file_changes(self, live: LiveFile | None) -> None:
        """The file, which is *live*, is about to be replaced.

        A server that has not read it yet reads the new one; one that has may have read *live*.
        """
        reads = self._reads
        if reads is not None and not (self._postgres.has_read_files and reads.is_in(live)):
            self._reads = None

    def end(self) -> None:
        """The server has ended, or may not have read what was written."""
        self._reads = None

    def came_up(self, written: Written | None, changed_at: datetime | None) -> Written | None:
        """Return what the server was started with, None if uncertain.

        *written* is what is in the file now, and has been since *changed_at*; None if unknown, or
        where the file is not as it was left: the server may have read what another has put there.
        """
        if not self._postgres.ready:
            return None  # another one has been started while the file was read
        read, self._reads = self._reads, None
        if read is not None:
            return read if written is not None else None
        if written is not None and changed_at and self._postgres.started_after(changed_at):
            return written
        return None
