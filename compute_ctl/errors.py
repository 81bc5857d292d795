"""The errors that only this daemon raises on purpose; those of both are in `compute_common.errors`.

ComputeError
 ├── FetchError           a source did not give a document
 ├── StoreError           a file could not be read, written or replaced
 ├── PostgresError        Postgres could not be started, stopped or signalled
 ├── BackupError          a base backup could not be taken
 ├── ProbeError           Postgres did not answer over SQL within the deadline
 │    ├── SqlError          it answered with an error
 │    └── LoginError        it accepted the connection and refused the session
 ├── FileCacheError       the state of the file cache could not be kept or loaded
 ├── CatalogError         roles, databases or extensions could not be made as wanted
 │    └── MigrationError    a migration of the cluster failed
 └── IllegalTransitionError  the state table has no row for the event
"""

from __future__ import annotations

from compute_common.errors import ComputeError


class FetchError(ComputeError):
    """A source did not give a document.

    `retry_after_s` is what the source asked for. `lasting`: asking again soon is pointless (401,
    403, 404), so the daemon asks slowly and logs an error.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, lasting: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.lasting = lasting


class StoreError(ComputeError):
    """A file could not be read, written or replaced; the old content is still there."""


class PostgresError(ComputeError):
    """Postgres could not be started, stopped or signalled."""


class BackupError(ComputeError):
    """A base backup could not be taken; nothing of it is in the data directory."""


class ProbeError(ComputeError):
    """Postgres did not answer over SQL within the deadline, or refused to."""


class SqlError(ProbeError):
    """Postgres, or another *peer*, refused a statement; `sqlstate` is None where unknown."""

    def __init__(
        self, message: str, *, sqlstate: str | None = None, peer: str = "postgres"
    ) -> None:
        super().__init__(f"{peer} refused: {message}")
        self.sqlstate = sqlstate


class LoginError(ProbeError):
    """Postgres accepted the connection and refused the session (FATAL).

    `sqlstate` says why, or `logins.LOST`; None where it could not be read.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class LeaseRefusedError(ProbeError):
    """A pageserver does not keep the LSN asked for any more."""


class FileCacheError(ComputeError):
    """The state of the file cache could not be kept or loaded; the cache itself is as it was."""


class CatalogError(ComputeError):
    """Roles, databases or extensions could not be made as wanted; the configuration stays."""


class MigrationError(CatalogError):
    """A migration failed; `number` says which, None where none was reached."""

    def __init__(self, message: str, *, number: int | None) -> None:
        super().__init__(message)
        self.number = number


class IllegalTransitionError(ComputeError):
    """The state table has no row for this status and event; nothing was changed."""

    def __init__(self, status: str, event: str) -> None:
        super().__init__(f'event "{event}" is not allowed in status "{status}"')
        self.status = status
        self.event = event
