"""The body of errors, and how bodies are encoded. Pure."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Struct, UnsetType

from compute_common.redact import redact


class ErrorBody(Struct, frozen=True, kw_only=True):
    """The answer with every status from 400 on."""

    error: str
    hint: str | UnsetType = UNSET


def error_body(message: str, hint: str | None = None) -> ErrorBody:
    """Return the body of an error."""
    return ErrorBody(error=redact(message), hint=redact(hint) if hint else UNSET)


def encode(body: Struct) -> bytes:
    """Return *body* as one line of JSON with a newline, for people who use curl."""
    return msgspec.json.encode(body) + b"\n"
