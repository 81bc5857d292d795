"""The metrics of the control plane, in the text format of Prometheus.

Events are counted in a registry of `Metrics`' own; the state of the fleet is read from an overview
at each scrape, one that is at most a second old.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain
from math import inf
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse
from control_plane.decisions.fleet_views import nodes_view, status_view
from control_plane.decisions.model import ComputeRecord, VerdictState
from control_plane.decisions.overview import Overview
from control_plane.http.api import Api, ApiCall

disable_created_metrics()  # type: ignore[no-untyped-call] # they would double the number of series

PREFIX: Final = "compute_control_plane_"
COMMIT_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
HUNG_UP: Final = 499
"""The caller has hung up before the answer."""
AVAILABILITIES: Final = ("Active", "WarmingUp", "Offline")


class _Families(Collector):
    """Passes ready families to `generate_latest`."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class Metrics:
    """Counts what happens in one control plane."""

    def __init__(self, *, started_at: datetime) -> None:
        self._registry = CollectorRegistry()
        self._http = self._counter("http_requests", "Requests answered", "door", "code")
        self._dropped = self._counter(
            "http_dropped_connections",
            "Connections closed: too slow, or the listener was full",
            "door",
            "reason",
        )
        self._hooks = self._counter(
            "hooks", "Hooks of the storage controller, by answer", "hook", "code"
        )
        self._reports = self._counter("reports", "Reports of computes")
        self._publications = self._counter("publications", "Documents published")
        self._verdicts = self._counter("verdicts", "Verdicts that a node is down", "state")
        self._commits = Histogram(
            f"{PREFIX}store_commit_seconds",
            "Duration of commits to the store, failed ones included",
            buckets=COMMIT_BUCKETS_S,
            registry=self._registry,
        )
        for state in VerdictState:
            self._verdicts.labels(state.value)
        self._started_at = started_at
        self._published_at: dict[str, datetime] = {}
        """By compute: when the newest document that is counted was published."""
        self._counted_until = -inf
        """Monotonic seconds: verdicts that came in until then are counted."""

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}{name}", text, labels, registry=self._registry)

    def on_http(self, listener: str, code: int) -> None:
        """Count an answered request."""
        self._http.labels(listener, code).inc()

    def on_dropped(self, listener: str, reason: str) -> None:
        """Count a connection that was closed: it was "slow", or all was "full"."""
        self._dropped.labels(listener, reason).inc()

    def on_hook(self, kind: str, code: int) -> None:
        """Count the answer to a hook."""
        self._hooks.labels(kind, code).inc()

    def on_report(self, compute_id: str) -> None:
        """Count a report."""
        self._reports.inc()

    def on_change(self, record: ComputeRecord | None, compute_id: str) -> None:
        """Count the change of a compute, if a document was published since the start."""
        at = record.published_at if record else None
        if record is None:
            self._published_at.pop(compute_id, None)
        elif at is not None and at > self._published_at.get(compute_id, self._started_at):
            self._published_at[compute_id] = at
            self._publications.inc()

    def on_commit(self, seconds: float) -> None:
        """Count a commit to the store."""
        self._commits.observe(seconds)

    def exposition(self, api: Api) -> bytes:
        """Return all metrics in the text format 0.0.4."""
        overview = api.overviews.recent()
        self._count_verdicts(api)
        families = chain(self._registry.collect(), _fleet(overview, api), _parts(api))
        return generate_latest(_Families(families))

    def _count_verdicts(self, api: Api) -> None:
        """Count those that came since the last scrape, but none from before the start."""
        until = max(self._counted_until, api.registry.loaded_at)
        for event, learned in api.registry.mirror.dated_history():
            if event.verdict is not None and learned.monotonic > until:
                self._verdicts.labels(event.verdict.state.value).inc()
                self._counted_until = learned.monotonic


def counted(
    kind: str, run: Callable[[ApiCall], Awaitable[ApiResponse]]
) -> Callable[[ApiCall], Awaitable[ApiResponse]]:
    """Return *run*, counting what the hook *kind* is answered."""

    async def handler(call: ApiCall) -> ApiResponse:
        code = HUNG_UP
        try:
            answer = await run(call)
            code = answer.code
        except RequestError as error:
            code = error.code
            raise
        except Exception:
            code = 500
            raise
        finally:
            call.api.metrics.on_hook(kind, code)
        return answer

    return handler


def _fleet(overview: Overview, api: Api) -> Iterator[Metric]:
    status = status_view(overview, api.service)
    computes = GaugeMetricFamily(
        f"{PREFIX}computes", "Computes, by how they stand to their document", labels=["condition"]
    )
    for condition, number in status.computes.items():
        computes.add_metric([condition.value], number)
    yield computes
    yield _gauge("behind", "Computes that do not run with what is published", status.behind)
    yield _gauge(
        "oldest_behind_seconds",
        "How long ago was published what a compute does not run with; 0: all do",
        _seconds(overview, status.oldest_behind_since),
    )
    yield _gauge(
        "oldest_hook_seconds",
        "How long the oldest hook has waited for its answer; 0: none waits",
        _seconds(overview, status.oldest_hook_since),
    )
    yield _gauge("pending_hooks", "Hooks that wait for their answer", status.pending_hooks)
    yield _gauge("held_requests", "Requests of computes that are held open", status.held_requests)
    yield from _nodes(overview)


def _seconds(overview: Overview, since: datetime | None) -> float:
    return max((overview.now.wall - since).total_seconds(), 0.0) if since else 0.0


def _nodes(overview: Overview) -> Iterator[Metric]:
    tally = Tally(node.availability for node in overview.state.nodes.nodes)
    nodes = GaugeMetricFamily(
        f"{PREFIX}nodes", "Pageservers, as the storage controller lists them",
        labels=["availability"],
    )  # fmt: skip
    for availability in sorted({*AVAILABILITIES, *tally}):
        nodes.add_metric([availability], tally[availability])
    yield nodes
    suspected = sum(1 for row in nodes_view(overview).nodes if row.suspects)
    yield _gauge("suspected_servers", "Servers that a compute alive suspects", suspected)


def _parts(api: Api) -> Iterator[Metric]:
    info = GaugeMetricFamily(f"{PREFIX}info", "Always 1", labels=["version"])
    info.add_metric([api.service.version], 1)
    yield info
    refused = CounterMetricFamily(
        f"{PREFIX}refused_holds",
        "Requests turned away, since too many were held already",
        labels=["kind"],
    )
    refused.add_metric(["poll"], api.polls.refused)
    refused.add_metric(["hook"], api.hooks.refused)
    yield refused
    registry, reconciler, judge = api.registry, api.reconciler, api.judge
    yield _gauge("store_up", "Whether the store answered last", not registry.store_failure)
    yield _count("store_errors", "Failures of the store", registry.mirror.failures)
    if api.settings.managed:
        failed = reconciler.controller_failure
        yield _gauge("controller_up", "Whether the storage controller answered last", not failed)
        text = "Failures of the storage controller, when asked for nodes and places"
        yield _count("controller_errors", text, reconciler.controller_failures)
    if judge is not None:
        text = "Verdicts whose node was Active again at once"
        yield _count("false_alarms", text, judge.false_alarms)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=float(value))


def _count(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"{PREFIX}{name}", text, value=float(value))
