"""JSON, durations and unified differences, as the commands print them. Loads no rich."""

from __future__ import annotations

import difflib
import json
from datetime import datetime
from typing import Any, Final

import click

WATCH_S: Final = 1.0
"""Interval of `--watch`, in seconds."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print *value*, on one line where *compact*."""
    click.echo(json.dumps(value, indent=None if compact else 2, ensure_ascii=False))


def unified_diff(old: str, new: str, *, old_name: str, new_name: str) -> str:
    """Return the unified difference of two texts, empty where they are equal."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), old_name, new_name
    )
    return "".join(lines)


def time_since(at: datetime, now: datetime) -> str:
    """Return the time since *at*, for example ``3 min ago``."""
    return f"{duration((now - at).total_seconds())} ago"


def lasting(since: datetime | None, now: datetime) -> str:
    """Return how long a state has lasted, for example `` for 3 min``; empty where unknown."""
    if since is None:
        return ""
    return f" for {duration((now - since).total_seconds())}"


def time_until(at: datetime, now: datetime) -> str:
    """Return the time until *at*, which may be past, for example ``in 3 min``."""
    seconds = (at - now).total_seconds()
    return f"in {duration(seconds)}" if seconds > 0 else "now"


def duration(seconds: float) -> str:
    """Return a duration in its largest useful unit."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"
