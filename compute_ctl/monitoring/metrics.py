"""The daemon's metrics, in the text format of Prometheus.

`Metrics` observes the node and counts events in a registry of its own, so two nodes in one process
(in tests) have separate metrics. The current state (status, generations, drift) is read from
the status at each scrape. Metrics of Neon's compute_ctl keep their names and meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from compute_ctl.decisions.lsn_lease import LeaseStatus
from compute_ctl.decisions.model import (
    GOOD_OUTCOMES,
    AckAnswer,
    Attempt,
    CatalogRun,
    Outcome,
    RequestOrigin,
)
from compute_ctl.decisions.status import ConfigView, StatusBody
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.monitoring.neon_metrics import NeonMetrics
from compute_ctl.node.observer import Observer

disable_created_metrics()  # type: ignore[no-untyped-call] # they would double the number of series

BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
"""Upper bounds of the attempts' durations, in seconds."""
_NO_VERDICT: Final = frozenset(
    {
        Outcome.UNCHANGED,
        Outcome.FETCH_FAILED,
        Outcome.STALE,
        Outcome.EMPTY,
        Outcome.SUPERSEDED,
        Outcome.NOT_PROMOTED,
        Outcome.TERMINATED,
    }
)
"""Outcomes that do not show whether a document can be applied."""


class _Families(Collector):
    """Passes ready families to `generate_latest`."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class Metrics(Observer):
    """Counts what happens to a node."""

    def __init__(
        self, *, build_tag: str = "latest", instance_id: str | None = None, compute_id: str = ""
    ) -> None:
        self._build_tag = build_tag
        self._registry = CollectorRegistry()
        self.neon = NeonMetrics(self._registry, instance_id=instance_id, compute_id=compute_id)
        self._requests = self._counter("refresh_requests", "Refresh requests", "source")
        self._attempts = self._counter("refresh_attempts", "Attempts", "outcome")
        self._seconds = Histogram(
            "compute_ctl_refresh_attempt_seconds",
            "Duration of attempts",
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._acks = self._counter("acks", "Acknowledgements by Postgres", "answer")
        self._moves = self._counter("status_changes", "Changes of status", "status")
        self._illegal = self._counter(
            "illegal_events",
            "Events dropped because the state table does not allow them in their status",
        )
        self._catalog = self._counter(
            "catalog_runs", "Runs of work on the catalog", "kind", "outcome"
        )
        self._http = self._counter("http_requests", "Requests to this API", "door", "code")
        self._dropped = self._counter(
            "http_dropped_connections",
            "Connections closed: too slow, or the listener was full",
            "door",
            "reason",
        )
        for counter, values in (
            (self._requests, RequestOrigin),
            (self._attempts, Outcome),
            (self._acks, AckAnswer),
        ):
            for value in values:
                counter.labels(value.value)
        self._last_apply_successful: bool | None = None

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"compute_ctl_{name}", text, labels, registry=self._registry)

    # Observer of the node

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Count a change of status."""
        self._moves.labels(new.kebab).inc()

    def on_illegal_event(self, status: Status, event: Event) -> None:
        """Count an event that was dropped."""
        self._illegal.inc()

    def on_refresh_request(self, source: RequestOrigin) -> None:
        """Count a request."""
        self._requests.labels(source.value).inc()
        self.neon.on_refresh_request(source)

    def on_attempt(self, attempt: Attempt) -> None:
        """Count an attempt and its duration."""
        self._attempts.labels(attempt.outcome.value).inc()
        self._seconds.observe(attempt.duration_ms / 1000)
        if attempt.outcome not in _NO_VERDICT:
            self._last_apply_successful = attempt.outcome in GOOD_OUTCOMES

    def on_ack(self, answer: AckAnswer) -> None:
        """Count an acknowledgement."""
        self._acks.labels(answer.value).inc()

    def on_catalog(self, run: CatalogRun) -> None:
        """Count work on the catalog."""
        self._catalog.labels(run.kind.value, run.outcome).inc()
        self.neon.on_catalog(run)

    # Called by the HTTP API

    def on_http(self, listener: str, code: int) -> None:
        """Count an answer of the HTTP API."""
        self._http.labels(listener, code).inc()

    def on_dropped(self, listener: str, reason: str) -> None:
        """Count a connection that the HTTP API closed."""
        self._dropped.labels(listener, reason).inc()

    # Exposition

    def exposition(self, status: StatusBody, *, now: datetime | None = None) -> bytes:
        """Return all metrics in the text format 0.0.4; *now* is for tests."""
        state = self._families(status, now or datetime.now(UTC))
        return generate_latest(_Families(chain(self._registry.collect(), state)))

    def _families(self, status: StatusBody, now: datetime) -> Iterator[Metric]:
        yield self._up(status.status)
        yield from self.neon.families(status)
        yield from _configuration(status.config)
        yield from _trouble(status, now)
        yield from _lease(status.postgres.lease)
        yield from self._last_apply(status)
        promotion = GaugeMetricFamily(
            "compute_ctl_promotion", "1 for the status of the last promotion", labels=["status"]
        )
        if status.promotion is not None:
            promotion.add_metric([status.promotion.status.value], 1)
        yield promotion
        closed = len(status.closed_ports)
        yield _gauge("compute_ctl_http_closed_ports", "Ports that somebody else has", closed)

    def _up(self, status: Status) -> Metric:
        up = GaugeMetricFamily(
            "compute_ctl_up", "1 for the current status", labels=["build_tag", "status"]
        )
        up.add_metric([self._build_tag, status.kebab], 1)
        return up

    def _last_apply(self, status: StatusBody) -> Iterator[Metric]:
        if self._last_apply_successful is not None:
            yield _gauge(
                "compute_ctl_last_apply_successful",
                "Whether the last document that was applied took hold, for new sessions too",
                self._last_apply_successful and not status.config.not_in_force,
            )


def _configuration(config: ConfigView) -> Iterator[Metric]:
    generations = GaugeMetricFamily(
        "compute_ctl_config_generation", "Generation of the configuration file", labels=["fact"]
    )
    seconds = GaugeMetricFamily(
        "compute_ctl_config_timestamp_seconds", "When the fact became so", labels=["fact"]
    )
    facts = {
        "desired": config.desired,
        "applied": config.applied,
        "started": config.started,
        "last_known_good": config.last_known_good,
    }
    for name, fact in facts.items():
        if fact is not None:
            seconds.add_metric([name], fact.at.timestamp())
            if fact.generation is not None:
                generations.add_metric([name], fact.generation)
    yield from (generations, seconds)
    yield _gauge("compute_ctl_in_sync", "Whether desired is in force", config.in_sync)
    quarantined = len(config.quarantined)
    yield _gauge("compute_ctl_quarantined", "Documents that were refused", quarantined)


def _trouble(status: StatusBody, now: datetime) -> Iterator[Metric]:
    postgres, since = status.postgres, status.refresh.suspected_since
    drift, pending = len(postgres.drift), len(postgres.pending_restart)
    yield _gauge("compute_ctl_drift", "Managed settings that something overrides", drift)
    yield _gauge("compute_ctl_pending_restart", "Settings that wait for a restart", pending)
    yield _gauge(
        "compute_ctl_suspected_seconds",
        "How long Postgres has suspected its configuration; 0: it does not",
        max((now - since).total_seconds(), 0.0) if since else 0.0,
    )
    yield _gauge("compute_ctl_refresh_pending", "Whether a request waits", status.refresh.pending)
    yield _gauge(
        "compute_ctl_catalog_failing",
        "Whether roles, databases and extensions are not as wanted",
        postgres.catalog_error is not None,
    )
    ready = postgres.ready
    yield _gauge("compute_ctl_postgres_ready", "Whether Postgres accepts connections", ready)


def _lease(lease: LeaseStatus | None) -> Iterator[Metric]:
    if lease is not None:
        until = lease.valid_until.timestamp() if lease.valid_until else 0.0
        yield _gauge(
            "compute_ctl_lsn_lease_valid_until_seconds",
            "When the first lease of a static compute ends; 0: a shard has none",
            until,
        )
        yield _gauge(
            "compute_ctl_lsn_lease_failing",
            "Whether a pageserver did not grant the last lease asked for",
            lease.error is not None,
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))
