"""What a refusal over HTTP says. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from compute_common.redact import HIDDEN, redact

MAX_REASON: Final = 200
"""Longest reason taken from an answer, in characters."""
REASON_FIELDS: Final = ("error", "msg")
"""Of a JSON body: the daemons' own, and that of Neon's storage."""


def status_text(code: int) -> str:
    """Return a status as the metrics show it, such as ``200 OK``."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def reason_in(raw: bytes, *, token: str = "") -> str:
    """Return the reason that the body of a refusal gives, in one bounded line without secrets.

    *token* is what the request logged in with: a body may quote it.
    """
    text = raw[: 16 * MAX_REASON].decode(errors="replace")
    try:
        answer = msgspec.json.decode(raw)
        found = [answer.get(name) for name in REASON_FIELDS] if isinstance(answer, dict) else []
        text = next((value for value in found if isinstance(value, str)), text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    text = redact(text.replace(token, HIDDEN) if token else text)
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:MAX_REASON]
