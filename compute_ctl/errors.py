"""All errors that the daemon raises on purpose.

    ComputeError
     ├── SettingsError        the command line or the environment cannot be used
     ├── SpecError            a document is refused: field, value, reason
     │    └── SyntaxSpecError   it is no JSON: perhaps half written, so it is fetched again
     ├── FetchError           a source did not give a document
     ├── StoreError           a file could not be read, written or replaced
     ├── PostgresError        Postgres could not be started, stopped or signalled
     ├── ProbeError           Postgres did not answer over SQL within the deadline
     │    ├── SqlError          it answered with an error
     │    └── LoginError        it accepted the connection and refused the session
     ├── CatalogError         roles, databases or extensions could not be made as wanted
     │    └── MigrationError    a migration of the cluster failed
     ├── IllegalTransitionError  the state table has no row for the event
     └── RequestError         a request to the API is refused

Messages follow PostgreSQL's style: lower case, no full stop, the reason last; `hint` says what
to do. Foreign exceptions are wrapped at the adapter that met them (`raise ... from`).
"""

from __future__ import annotations


class ComputeError(Exception):
    """Base of all errors of this package; `hint` is a sentence for the operator, or None."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class SettingsError(ComputeError):
    """The command line or the environment cannot be used; the daemon exits with status 2."""


class SpecError(ComputeError):
    """A document is refused.

    `path` is the JSON path of the field (``spec.cluster.settings[2].value``), `reason` says what
    was expected. The value is part of the message only where it can hold no secret.
    """

    def __init__(self, path: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {reason}" if path else reason, hint=hint)
        self.path = path
        self.reason = reason


class SyntaxSpecError(SpecError):
    """The document is no JSON object; if it was half written, the next fetch succeeds.

    `line` and `column`, from 1, say where it is malformed; None where that is not known.
    """

    def __init__(self, reason: str, *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(f"line {line}, column {column}" if line is not None else "", reason)
        self.line = line
        self.column = column


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


class ProbeError(ComputeError):
    """Postgres did not answer over SQL within the deadline, or refused to."""


class SqlError(ProbeError):
    """Postgres refused a statement; `sqlstate` is None where unknown."""

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(f"postgres refused: {message}")
        self.sqlstate = sqlstate


class LoginError(ProbeError):
    """Postgres accepted the connection and refused the session (FATAL).

    `sqlstate` says why; None where it could not be read.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


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


class RequestError(ComputeError):
    """A request to the API is refused; `code` is the HTTP status."""

    def __init__(self, code: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
