"""Statuses to start from."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from compute_ctl.decisions.status import ConfigView, PostgresView, RefreshView, StatusBody
from compute_ctl.decisions.transitions import Status

NOTHING = StatusBody(
    status=Status.EMPTY,
    start_time=datetime(2026, 1, 1, tzinfo=UTC),
    tenant=None,
    timeline=None,
    last_active=None,
    error=None,
    config=ConfigView(
        in_sync=False, desired=None, applied=None, last_known_good=None, quarantined=()
    ),
    refresh=RefreshView(
        pending=False,
        suspected_since=None,
        suspicion=None,
        last_attempt=None,
        next_attempt_at=None,
        requests_total=0,
    ),
    postgres=PostgresView(pid=None, ready=False, pending_restart=(), drift=()),
)
"""A node to which nothing has happened."""


def having(
    *,
    config: Mapping[str, Any] | None = None,
    refresh: Mapping[str, Any] | None = None,
    postgres: Mapping[str, Any] | None = None,
    **fields: Any,
) -> StatusBody:
    """Return `NOTHING` with other values of some *fields*, and of some in its parts."""
    return replace(
        NOTHING,
        config=replace(NOTHING.config, **config or {}),
        refresh=replace(NOTHING.refresh, **refresh or {}),
        postgres=replace(NOTHING.postgres, **postgres or {}),
        **fields,
    )
