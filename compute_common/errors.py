"""The errors that both daemons raise on purpose.

    ComputeError
     ├── SettingsError        the command line or the environment cannot be used
     ├── SpecError            a document is refused: field, value, reason
     │    └── SyntaxSpecError   it is no JSON: perhaps half written, so it is fetched again
     └── RequestError         a request to the API is refused

Messages follow PostgreSQL's style: lower case, no full stop, the reason last; `hint` says what
to do. Foreign exceptions are wrapped at the adapter that met them (`raise ... from`).
"""

from __future__ import annotations


class ComputeError(Exception):
    """Base of all errors of the daemons; `hint` is a sentence for the operator, or None."""

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


class RequestError(ComputeError):
    """A request to the API is refused; `code` is the HTTP status.

    `retry_after_s`: when the caller may try again, in seconds; sent as Retry-After, rounded up.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.retry_after_s = retry_after_s
