"""Snapshots to start from."""

from datetime import UTC, datetime

from compute_ctl.decisions.snapshot import Snapshot
from compute_ctl.decisions.transitions import Status

NOTHING = Snapshot(
    status=Status.EMPTY,
    status_since=None,
    start_time=datetime(2026, 1, 1, tzinfo=UTC),
    tenant=None,
    timeline=None,
    last_active=None,
    error=None,
    desired=None,
    applied=None,
    started=None,
    proven_in_full=None,
    last_known_good=None,
    quarantined=(),
    in_sync=False,
    pending=False,
    suspected_since=None,
    suspicion=None,
    suspicions=(),
    last_attempt=None,
    next_attempt_at=None,
    requests_total=0,
    postgres_pid=None,
    postgres_ready=False,
    postgres_since=None,
    postgres_silent_since=None,
    postgres_silent_because="",
    postgres_version=None,
    library_loaded=None,
    pending_restart=(),
    drift=(),
)
"""A node to which nothing has happened."""
