"""Which generation the server was started with."""

from __future__ import annotations

from datetime import datetime

from compute_ctl.decisions.model import Written
from compute_ctl.ports import Postgres


class ServerStart:
    """Follows the start of one server.

    Where this daemon starts it, the generation in the file at that moment counts, unless the file
    is replaced before the server has read it. Where it was started by somebody else, or by an
    earlier daemon, its start time has to be later than the swap of the file. What is uncertain
    counts as not started.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._reads: Written | None = None
        """What a server that was started just now reads, or has read."""

    def begin(self, written: Written | None) -> None:
        """The server is about to be started with *written* in the file."""
        self._reads = written

    def file_changes(self) -> None:
        """The file is about to be replaced: a server that has not read it reads the other one."""
        if self._reads is not None and not self._postgres.has_read_files:
            self._reads = None

    def end(self) -> None:
        """The server has ended."""
        self._reads = None

    def came_up(self, written: Written | None, changed_at: datetime | None) -> Written | None:
        """Return what the server came up with, None where that is not certain.

        *written* is what is in the file now, and has been since *changed_at*; None if unknown.
        """
        if not self._postgres.ready:
            return None  # another one has been started while the file was read
        read, self._reads = self._reads, None
        if read is not None:
            return read
        if written is not None and changed_at and self._postgres.started_after(changed_at):
            return written
        return None
