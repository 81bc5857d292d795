"""Times and durations as people read them."""

from __future__ import annotations

from datetime import datetime


def ago(text: str, now: datetime) -> str:
    """Return a past time of the API as people say it."""
    return f"{amount((now - datetime.fromisoformat(text)).total_seconds())} ago"


def lasting(since: str | None, now: datetime) -> str:
    """Return how long something has been so; empty where that is not known."""
    if since is None:
        return ""
    return f" for {amount((now - datetime.fromisoformat(since)).total_seconds())}"


def ahead(text: str, now: datetime) -> str:
    """Return a coming time of the API as people say it."""
    seconds = (datetime.fromisoformat(text) - now).total_seconds()
    return f"in {amount(seconds)}" if seconds > 0 else "now"


def amount(seconds: float) -> str:
    """Return a duration in its largest useful unit."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"
