"""What an HTTP answer says beside its body. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import msgspec

from compute_ctl.decisions.pacing import RETRY_AFTER_MAX_S

MAX_REASON: Final = 200
"""Longest reason taken from an answer, in characters."""


def retry_after(value: str | None, date: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, None where it says nothing usable.

    More than `pacing.RETRY_AFTER_MAX_S` counts as that, however many digits it has. A point in
    time is compared with the server's own *date* where it sent one, else with *now*.
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]+\s*", value, re.ASCII):
        return min(float(value), RETRY_AFTER_MAX_S)
    until = _http_date(value)
    if until is None:
        return None
    seconds = (until - (_http_date(date or "") or now)).total_seconds()
    return min(max(0.0, seconds), RETRY_AFTER_MAX_S)


def _http_date(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def status_text(code: int) -> str:
    """Return a status as the metrics show it, such as ``200 OK``."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def applied_wait(header: str) -> bool:
    """Whether a Preference-Applied header says that the answer was held (RFC 7240)."""
    return any(part.strip().startswith("wait=") for part in header.split(","))


def reason_in(raw: bytes) -> str:
    """Return the reason that the body of a refusal gives, in one bounded line."""
    text = raw[: 16 * MAX_REASON].decode(errors="replace")
    try:
        answer = msgspec.json.decode(raw)
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            text = answer["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:MAX_REASON]
