"""What an HTTP answer says beside its body. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from compute_ctl.decisions.pacing import RETRY_AFTER_MAX_S


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


def applied_wait(header: str) -> bool:
    """Whether a Preference-Applied header says that the answer was held (RFC 7240)."""
    return any(part.strip().startswith("wait=") for part in header.split(","))
