"""The daemon's metrics, in the text format of Prometheus.

`Metrics` observes the node: it counts what happens, and what is merely so (status, generations,
drift) is read from a snapshot when somebody scrapes. Nothing is global, so two nodes in one process
(tests) do not meet. Names of the reference keep their names and meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from compute_ctl.decisions.model import (
    GOOD_OUTCOMES,
    AckAnswer,
    Attempt,
    CatalogRun,
    Outcome,
    RequestOrigin,
    Snapshot,
)
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.monitoring.neon_metrics import NeonMetrics

BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
"""Upper bounds of the attempts' durations, in seconds."""
_NO_VERDICT: Final = frozenset(
    {
        Outcome.UNCHANGED,
        Outcome.FETCH_FAILED,
        Outcome.STALE,
        Outcome.EMPTY,
        Outcome.SUPERSEDED,
        Outcome.TERMINATED,
    }
)
"""Outcomes of attempts that applied nothing, well or badly."""


class _Families(Collector):
    """Lets `generate_latest` have families that are made already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class Metrics:
    """Counts what happens to a node."""

    def __init__(
        self, *, build_tag: str = "latest", instance_id: str | None = None, compute_id: str = ""
    ) -> None:
        self._build_tag = build_tag
        self.neon = NeonMetrics(instance_id=instance_id, compute_id=compute_id)
        self._requests: Counter[str] = Counter({source.value: 0 for source in RequestOrigin})
        self._attempts: Counter[str] = Counter({outcome.value: 0 for outcome in Outcome})
        self._acks: Counter[str] = Counter({answer.value: 0 for answer in AckAnswer})
        self._moves: Counter[str] = Counter()
        self._illegal = 0
        self._catalog: Counter[tuple[str, str]] = Counter()
        self._http: Counter[tuple[str, str]] = Counter()
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._seconds = 0.0
        self._last_apply_successful: bool | None = None

    # What the node tells

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Count a change of status."""
        self._moves[new.kebab] += 1

    def on_illegal_event(self, status: Status, event: Event) -> None:
        """Count an event that was dropped."""
        self._illegal += 1

    def on_refresh_request(self, source: RequestOrigin) -> None:
        """Count a request."""
        self._requests[source.value] += 1

    def on_attempt(self, attempt: Attempt) -> None:
        """Count an attempt and its duration."""
        self._attempts[attempt.outcome.value] += 1
        seconds = attempt.duration_ms / 1000
        self._seconds += seconds
        bucket = next(
            (place for place, bound in enumerate(BUCKETS_S) if seconds <= bound), len(BUCKETS_S)
        )
        self._buckets[bucket] += 1
        if attempt.outcome not in _NO_VERDICT:
            self._last_apply_successful = attempt.outcome in GOOD_OUTCOMES

    def on_ack(self, answer: AckAnswer) -> None:
        """Count an acknowledgement."""
        self._acks[answer.value] += 1

    def on_catalog(self, run: CatalogRun) -> None:
        """Count work on the catalog."""
        self._catalog[run.kind.value, run.outcome] += 1
        self.neon.on_catalog(run)

    # What the adapters tell

    def on_http(self, listener: str, code: int) -> None:
        """Count an answer of the HTTP API."""
        self._http[listener, str(code)] += 1

    def on_dropped(self, listener: str, reason: str) -> None:
        """Count a connection that the HTTP API closed."""
        self._dropped[listener, reason] += 1

    # What is shown

    def exposition(self, snapshot: Snapshot, *, now: datetime | None = None) -> bytes:
        """Return all metrics in the text format 0.0.4; *now* is for tests."""
        return generate_latest(_Families(self._families(snapshot, now or datetime.now(UTC))))

    def _families(self, snapshot: Snapshot, now: datetime) -> Iterator[Metric]:
        yield self._up(snapshot.status)
        asked = self._requests[RequestOrigin.WORKER] + self._requests[RequestOrigin.OPERATOR]
        yield from self.neon.families(snapshot, asked)
        yield from self._refreshes()
        yield from _configuration(snapshot)
        yield from _trouble(snapshot, now)
        yield from self._last_apply(snapshot)
        yield from self._api(snapshot)

    def _up(self, status: Status) -> Metric:
        up = GaugeMetricFamily(
            "compute_ctl_up", "1 for the current status", labels=["build_tag", "status"]
        )
        up.add_metric([self._build_tag, status.kebab], 1)
        return up

    def _refreshes(self) -> Iterator[Metric]:
        yield _counter("compute_ctl_refresh_requests", "Refresh requests", "source", self._requests)
        yield _counter("compute_ctl_refresh_attempts", "Attempts", "outcome", self._attempts)
        yield _counter("compute_ctl_acks", "Acknowledgements by Postgres", "answer", self._acks)
        yield _counter("compute_ctl_status_changes", "Changes of status", "status", self._moves)
        yield CounterMetricFamily(
            "compute_ctl_illegal_events",
            "Events dropped because the state table does not allow them in their status",
            value=self._illegal,
        )
        runs = CounterMetricFamily(
            "compute_ctl_catalog_runs",
            "Runs of work on the catalog",
            labels=["kind", "outcome"],
        )
        for labels, count in self._catalog.items():
            runs.add_metric(labels, count)
        yield runs
        total, buckets = 0, []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        yield HistogramMetricFamily(
            "compute_ctl_refresh_attempt_seconds",
            "Duration of attempts",
            buckets=buckets,
            sum_value=self._seconds,
        )

    def _last_apply(self, snapshot: Snapshot) -> Iterator[Metric]:
        if self._last_apply_successful is not None:
            yield _gauge(
                "compute_ctl_last_apply_successful",
                "Whether the last document that was applied took hold, for new sessions too",
                self._last_apply_successful and not snapshot.not_in_force,
            )

    def _api(self, snapshot: Snapshot) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "compute_ctl_http_requests", "Requests to this API", labels=["door", "code"]
        )
        for labels, count in self._http.items():
            answers.add_metric(labels, count)
        closed = len(snapshot.closed_ports)
        yield _gauge("compute_ctl_http_closed_ports", "Ports that somebody else has", closed)
        dropped = CounterMetricFamily(
            "compute_ctl_http_dropped_connections",
            "Connections closed: too slow, or the listener was full",
            labels=["door", "reason"],
        )
        for labels, count in self._dropped.items():
            dropped.add_metric(labels, count)
        yield from (answers, dropped)


def _configuration(snapshot: Snapshot) -> Iterator[Metric]:
    generations = GaugeMetricFamily(
        "compute_ctl_config_generation", "Generation of the configuration file", labels=["fact"]
    )
    seconds = GaugeMetricFamily(
        "compute_ctl_config_timestamp_seconds", "When the fact became so", labels=["fact"]
    )
    facts = {
        "desired": snapshot.desired,
        "applied": snapshot.applied,
        "started": snapshot.started,
        "last_known_good": snapshot.last_known_good,
    }
    for name, fact in facts.items():
        if fact is not None:
            seconds.add_metric([name], fact.at.timestamp())
            if fact.generation is not None:
                generations.add_metric([name], fact.generation)
    yield from (generations, seconds)
    yield _gauge("compute_ctl_in_sync", "Whether desired is in force", snapshot.in_sync)
    quarantined = len(snapshot.quarantined)
    yield _gauge("compute_ctl_quarantined", "Documents that were refused", quarantined)
    drift = len(snapshot.drift)
    yield _gauge("compute_ctl_drift", "Managed settings that something overrides", drift)
    pending = len(snapshot.pending_restart)
    yield _gauge("compute_ctl_pending_restart", "Settings that wait for a restart", pending)


def _trouble(snapshot: Snapshot, now: datetime) -> Iterator[Metric]:
    since = snapshot.suspected_since
    yield _gauge(
        "compute_ctl_suspected_seconds",
        "How long Postgres has suspected its configuration; 0: it does not",
        max((now - since).total_seconds(), 0.0) if since else 0.0,
    )
    yield _gauge("compute_ctl_refresh_pending", "Whether a request waits", snapshot.pending)
    yield _gauge(
        "compute_ctl_catalog_failing",
        "Whether roles, databases and extensions are not as wanted",
        snapshot.catalog_error is not None,
    )
    ready = snapshot.postgres_ready
    yield _gauge("compute_ctl_postgres_ready", "Whether Postgres accepts connections", ready)


def _counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))
