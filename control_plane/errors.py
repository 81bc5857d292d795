"""Errors of the control plane; the base classes are those of `compute_common.errors`.

ComputeError
 ├── StoreError           the store could not be read or written
 │    ├── ConflictError     somebody else wrote a key first
 │    └── CompactedError    a watch asked for commits that are no longer known
 ├── ControllerError      the storage controller gave no usable answer
 │    └── BusyError         it runs a background operation (412)
 └── PushError            a daemon did not take a document
"""

from __future__ import annotations

from compute_common.errors import ComputeError


class StoreError(ComputeError):
    """The store could not be read or written."""


class ConflictError(StoreError):
    """A key did not have the expected revision; nothing was written."""


class CompactedError(StoreError):
    """The commits asked for are no longer known."""


class ControllerError(ComputeError):
    """The storage controller gave no usable answer."""


class BusyError(ControllerError):
    """The storage controller runs a background operation."""


class PushError(ComputeError):
    """A daemon did not take a document; `code` is the HTTP status, None for no answer."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
