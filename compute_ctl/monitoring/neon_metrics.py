"""The metrics of Neon's compute_ctl, under their names and with their meaning.

Those of what this daemon does not do (remote extensions, the file cache) are there with a zero
where Neon's has one before anything has happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from compute_ctl.decisions.model import CatalogRun, Snapshot

Installed = tuple[str, str, bool]
"""Name and version of an extension, and whether the superuser that initdb made owns it."""

_NOT_DONE_HERE: Final = {
    "compute_ctl_lfc_prewarms": "Prewarms of the file cache: not done here",
    "compute_ctl_lfc_prewarm_errors": "Prewarms that failed: not done here",
    "compute_ctl_lfc_offloads": "Offloads of the file cache: not done here",
    "compute_ctl_lfc_offload_errors": "Offloads that failed: not done here",
}


class NeonMetrics:
    """Counts for one node."""

    def __init__(self, *, instance_id: str | None = None, compute_id: str = "") -> None:
        self._instance_id = instance_id
        self._compute_id = compute_id
        self._fetches: Counter[tuple[str, str]] = Counter()
        self._failed_migrations: Counter[int] = Counter()
        self._timeouts = 0
        self._extensions: Mapping[Installed, int] = {}
        self._audit_log_bytes = 0
        self._downtime_ms = 0.0
        self._downtime_ms_total = 0.0

    def on_catalog(self, run: CatalogRun) -> None:
        """Count failed work on the catalog."""
        self._timeouts += run.timeouts
        if run.failed_migration is not None:
            self._failed_migrations[run.failed_migration] += 1

    def on_fetch(self, rpc: str, status: str) -> None:
        """Count a request to the control plane; *status* is like ``200 OK``, or ``unknown``."""
        self._fetches[rpc, status] += 1

    def on_downtime(self, current_ms: float, added_ms: float) -> None:
        """Record how long Postgres has not answered, and what that adds to the total."""
        self._downtime_ms = current_ms
        self._downtime_ms_total += added_ms

    def on_extensions(self, found: Mapping[Installed, int]) -> None:
        """Record in how many databases each extension is installed."""
        self._extensions = dict(found)

    def on_audit_log(self, size: int) -> None:
        """Record the size of the audit log in bytes."""
        self._audit_log_bytes = size

    def families(self, snapshot: Snapshot, requests: int) -> Iterator[Metric]:
        """Yield everything; *requests* is how many refreshes were asked for over HTTP."""
        yield from self._counted(requests)
        yield from self._measured()
        for name, text in _NOT_DONE_HERE.items():
            yield CounterMetricFamily(name, text, value=0)
        if self._instance_id is not None and snapshot.tenant is not None:
            attached = GaugeMetricFamily(
                "pg_cctl_attached",
                "1: attached to this tenant and timeline",
                labels=["pg_compute_id", "pg_instance_id", "tenant_id", "timeline_id"],
            )
            ids = (self._compute_id, self._instance_id, snapshot.tenant, snapshot.timeline or "")
            attached.add_metric(ids, 1)
            yield attached

    def _counted(self, requests: int) -> Iterator[Metric]:
        fetches = CounterMetricFamily(
            "compute_ctl_cplane_requests",
            "Requests to the control plane",
            labels=["rpc", "http_status"],
        )
        for labels, count in self._fetches.items():
            fetches.add_metric(labels, count)
        failed = CounterMetricFamily(
            "compute_ctl_db_migration_failed",
            "Migrations of the cluster that failed",
            labels=["migration_id"],
        )
        for number, count in self._failed_migrations.items():
            failed.add_metric([str(number)], count)
        yield from (fetches, failed)
        yield CounterMetricFamily(
            "pg_cctl_pagestream_request_errors",
            "Refresh requests over HTTP, whoever sent them",
            value=requests,
        )
        yield CounterMetricFamily(
            "pg_cctl_configure_statement_timeout_errors",
            "Statements on the catalog that were cancelled at the deadline",
            value=self._timeouts,
        )

    def _measured(self) -> Iterator[Metric]:
        extensions = GaugeMetricFamily(
            "compute_installed_extensions",
            "In how many databases an extension is",
            labels=["extension_name", "version", "owned_by_superuser"],
        )
        for (name, version, by_superuser), databases in self._extensions.items():
            extensions.add_metric([name, version, "1" if by_superuser else "0"], databases)
        yield extensions
        yield GaugeMetricFamily(
            "compute_audit_log_dir_size", "Size of the audit log", value=self._audit_log_bytes
        )
        yield GaugeMetricFamily(
            "compute_pg_current_downtime_ms",
            "Time since Postgres last answered; 0: it does",
            value=self._downtime_ms,
        )
        yield CounterMetricFamily(
            "compute_pg_downtime_ms",
            "Time in which Postgres did not answer",
            value=self._downtime_ms_total,
        )
