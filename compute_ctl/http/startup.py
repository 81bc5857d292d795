"""Measures the start of the compute for GET /metrics.json; an observer of the node."""

from __future__ import annotations

import time

from compute_ctl.decisions.model import Attempt, Outcome
from compute_ctl.decisions.status import ClusterView
from compute_ctl.decisions.transitions import Status
from compute_ctl.http.responses import ComputeMetricsBody
from compute_ctl.node.observer import Observer


class Startup(Observer):
    """Measures the time from construction to the first `running` status."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._wait_for_spec_s: float | None = None
        self._waits_for_postgres_since: float | None = None
        self._start_postgres_s = 0.0
        self._config_ms: float | None = None
        self._total_s: float | None = None

    def body(self, cluster: ClusterView | None = None) -> ComputeMetricsBody:
        """Return the durations so far, 0 for what has not happened.

        *cluster*: how the cluster was made.
        """
        return ComputeMetricsBody(
            wait_for_spec_ms=_ms(self._wait_for_spec_s),
            sync_sk_check_ms=round(cluster.sync_sk_check_ms) if cluster else 0,
            sync_safekeepers_ms=round(cluster.sync_safekeepers_ms) if cluster else 0,
            pageserver_connect_micros=cluster.pageserver_connect_micros if cluster else 0,
            basebackup_ms=round(cluster.basebackup_ms) if cluster else 0,
            basebackup_bytes=cluster.bytes if cluster else 0,
            start_postgres_ms=_ms(self._start_postgres_s),
            config_ms=round(self._config_ms or 0),
            total_startup_ms=_ms(self._total_s),
        )

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Note the progress of the start."""
        now = time.monotonic()
        if new is Status.INIT and self._waits_for_postgres_since is None:
            self._waits_for_postgres_since = now
        if new is Status.RUNNING and self._total_s is None:
            self._total_s = now - self._begun
            if self._waits_for_postgres_since is not None:
                self._start_postgres_s = now - self._waits_for_postgres_since

    def on_attempt(self, attempt: Attempt) -> None:
        """Note the duration of the first document."""
        if attempt.outcome in (Outcome.FETCH_FAILED, Outcome.EMPTY, Outcome.TERMINATED):
            return
        if self._wait_for_spec_s is None:
            waited = time.monotonic() - self._begun - attempt.duration_ms / 1000
            self._wait_for_spec_s = max(0.0, waited)
        if self._config_ms is None and attempt.outcome is Outcome.APPLIED:
            self._config_ms = attempt.duration_ms


def _ms(seconds: float | None) -> int:
    return round((seconds or 0.0) * 1000)
