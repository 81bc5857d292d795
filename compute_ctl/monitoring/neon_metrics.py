"""The metrics of Neon's compute_ctl, under their names and with their meaning.

Those of what this daemon does not do (remote extensions) are there with a zero where Neon's has
one before anything has happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric

from compute_ctl.decisions.model import (
    CatalogRun,
    RequestOrigin,
)
from compute_ctl.decisions.status import StatusBody

Installed = tuple[str, str, bool]
"""Name and version of an extension, and whether the superuser that initdb made owns it."""

_CACHE: Final = ("prewarm", "offload")


class NeonMetrics:
    """Counts for one node."""

    def __init__(
        self, registry: CollectorRegistry, *, instance_id: str | None = None, compute_id: str = ""
    ) -> None:
        self._instance_id = instance_id
        self._compute_id = compute_id

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._fetches = counter(
            "compute_ctl_cplane_requests", "Requests to the control plane", "rpc", "http_status"
        )
        self._failed_migrations = counter(
            "compute_ctl_db_migration_failed",
            "Migrations of the cluster that failed",
            "migration_id",
        )
        self._requests = counter(
            "pg_cctl_pagestream_request_errors", "Refresh requests over HTTP, whoever sent them"
        )
        self._timeouts = counter(
            "pg_cctl_configure_statement_timeout_errors",
            "Statements on the catalog that were cancelled at the deadline",
        )
        labels = ("extension_name", "version", "owned_by_superuser")
        help_text = "In how many databases an extension is"
        self._extensions = gauge("compute_installed_extensions", help_text, *labels)
        self._audit_log_bytes = gauge("compute_audit_log_dir_size", "Size of the audit log")
        self._downtime = gauge(
            "compute_pg_current_downtime_ms", "Time since Postgres last answered; 0: it does"
        )
        self._downtime_total = counter(
            "compute_pg_downtime_ms", "Time in which Postgres did not answer"
        )
        self._begun, self._failed = _of_cache(registry)

    def on_refresh_request(self, source: RequestOrigin) -> None:
        """Count a request that came over HTTP."""
        if source in (RequestOrigin.WORKER, RequestOrigin.OPERATOR):
            self._requests.inc()

    def on_catalog(self, run: CatalogRun) -> None:
        """Count failures of work on the catalog."""
        self._timeouts.inc(run.timeouts)
        if run.failed_migration is not None:
            self._failed_migrations.labels(run.failed_migration).inc()

    def on_fetch(self, rpc: str, status: str) -> None:
        """Count a request to the control plane; *status* is like ``200 OK``, or ``unknown``."""
        self._fetches.labels(rpc, status).inc()

    def on_downtime(self, current_ms: float, added_ms: float) -> None:
        """Record how long Postgres has not answered, and add *added_ms* to the total."""
        self._downtime.set(current_ms)
        self._downtime_total.inc(added_ms)

    def on_extensions(self, found: Mapping[Installed, int]) -> None:
        """Record in how many databases each extension is."""
        self._extensions.clear()
        for (name, version, by_superuser), databases in found.items():
            self._extensions.labels(name, version, int(by_superuser)).set(databases)

    def on_cache_start(self, what: str) -> None:
        """Count the beginning of a ``prewarm`` or ``offload`` of the file cache."""
        self._begun[what].inc()

    def on_cache_failure(self, what: str) -> None:
        """Count one that failed."""
        self._failed[what].inc()

    def on_audit_log(self, size: int) -> None:
        """Record the size of the audit log in bytes."""
        self._audit_log_bytes.set(size)

    def families(self, status: StatusBody) -> Iterator[Metric]:
        """Yield what is read from *status*; the registry has the rest."""
        if self._instance_id is not None and status.tenant is not None:
            attached = GaugeMetricFamily(
                "pg_cctl_attached",
                "1: attached to this tenant and timeline",
                labels=["pg_compute_id", "pg_instance_id", "tenant_id", "timeline_id"],
            )
            ids = (self._compute_id, self._instance_id, status.tenant, status.timeline or "")
            attached.add_metric(ids, 1)
            yield attached


def _of_cache(registry: CollectorRegistry) -> tuple[dict[str, Counter], dict[str, Counter]]:
    """Return the counters of prewarms and offloads that began, and of those that failed."""

    def counter(name: str, text: str) -> Counter:
        return Counter(f"compute_ctl_lfc_{name}", text, registry=registry)

    begun = {it: counter(f"{it}s", f"Times that a file cache {it} began") for it in _CACHE}
    failed = {it: counter(f"{it}_errors", f"File cache {it}s that failed") for it in _CACHE}
    return begun, failed
