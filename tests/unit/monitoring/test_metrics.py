"""The metrics, as Prometheus reads them."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from compute_ctl.decisions.model import (
    AckAnswer,
    Attempt,
    Outcome,
    RequestOrigin,
)
from compute_ctl.decisions.status import DesiredView, DriftView, GenerationView, StatusBody
from compute_ctl.decisions.transitions import Status
from compute_ctl.monitoring.metrics import Metrics
from tests.unit.snapshots import NOTHING, having

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def scrape(metrics: Metrics, status: StatusBody = NOTHING) -> dict[str, float]:
    """All samples, named as in the text format."""
    text = metrics.exposition(status, now=NOW).decode()
    samples = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(one.labels.items()))
            samples[f"{one.name}{{{labels}}}" if labels else one.name] = one.value
    return samples


def attempt(outcome: Outcome, duration_ms: float = 1.0) -> Attempt:
    """An attempt that has ended."""
    return Attempt(
        number=1,
        who="test",
        started_at=NOW,
        finished_at=NOW,
        duration_ms=duration_ms,
        outcome=outcome,
    )


def test_up_names_the_current_status_only() -> None:
    """One series, spelled as the reference spells it; never a gap, never two."""
    samples = scrape(Metrics(build_tag="v1"), having(status=Status.REFRESH_CONFIGURATION_PENDING))
    up = {name: value for name, value in samples.items() if name.startswith("compute_ctl_up")}
    assert {'compute_ctl_up{build_tag="v1",status="refresh-configuration-pending"}': 1.0} == up


def test_requests_by_source() -> None:
    """Requests are counted by who asks; the reference's counter has those that came by HTTP."""
    metrics = Metrics()
    for source in (
        RequestOrigin.WORKER,
        RequestOrigin.WORKER,
        RequestOrigin.OPERATOR,
        RequestOrigin.CLOCK,
    ):
        metrics.on_refresh_request(source)
    samples = scrape(metrics)
    assert 2 == samples['compute_ctl_refresh_requests_total{source="worker"}']
    assert 1 == samples['compute_ctl_refresh_requests_total{source="operator"}']
    assert 1 == samples['compute_ctl_refresh_requests_total{source="clock"}']
    assert 3 == samples["pg_cctl_pagestream_request_errors_total"]


def test_attempts() -> None:
    """Attempts are counted by outcome, and their durations in buckets that add up."""
    metrics = Metrics()
    metrics.on_attempt(attempt(Outcome.APPLIED, 5.0))
    metrics.on_attempt(attempt(Outcome.APPLIED, 30.0))
    metrics.on_attempt(attempt(Outcome.FETCH_FAILED, 60_000.0))
    samples = scrape(metrics)
    assert 2 == samples['compute_ctl_refresh_attempts_total{outcome="applied"}']
    assert 1 == samples['compute_ctl_refresh_attempts_total{outcome="fetch_failed"}']
    assert 0 == samples['compute_ctl_refresh_attempts_total{outcome="blocked"}']
    buckets = {
        bound: samples[f'compute_ctl_refresh_attempt_seconds_bucket{{le="{bound}"}}']
        for bound in ("0.005", "0.02", "0.05", "15.0", "+Inf")
    }
    assert {"0.005": 1, "0.02": 1, "0.05": 2, "15.0": 2, "+Inf": 3} == buckets
    assert 3 == samples["compute_ctl_refresh_attempt_seconds_count"]
    assert samples["compute_ctl_refresh_attempt_seconds_sum"] == pytest.approx(60.035)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([Outcome.UNCHANGED], None),
        ([Outcome.APPLIED, Outcome.UNCHANGED, Outcome.FETCH_FAILED], 1.0),
        ([Outcome.APPLIED, Outcome.REJECTED], 0.0),
        ([Outcome.REJECTED, Outcome.UNCHANGED], 0.0),
        ([Outcome.WRITE_FAILED, Outcome.APPLIED], 1.0),
    ],
)
def test_last_apply(outcomes: list[Outcome], expected: float | None) -> None:
    """Only what was tried on Postgres says whether the last apply was successful."""
    metrics = Metrics()
    for outcome in outcomes:
        metrics.on_attempt(attempt(outcome))
    assert scrape(metrics).get("compute_ctl_last_apply_successful") == expected


def test_acks_moves_and_fetches() -> None:
    """Acknowledgements, changes of status and requests to the control plane are counted."""
    metrics = Metrics()
    metrics.on_ack(AckAnswer.UNKNOWN)
    metrics.on_move(Status.INIT, Status.RUNNING, "ready")
    metrics.neon.on_fetch("GetConfig", "503 Service Unavailable")
    samples = scrape(metrics)
    assert 1 == samples['compute_ctl_acks_total{answer="unknown"}']
    assert 0 == samples['compute_ctl_acks_total{answer="taken"}']
    assert 1 == samples['compute_ctl_status_changes_total{status="running"}']
    name = (
        'compute_ctl_cplane_requests_total{http_status="503 Service Unavailable",rpc="GetConfig"}'
    )
    assert 1 == samples[name]


def test_facts() -> None:
    """Generation and time of each fact; a fact that does not exist has no series."""
    fact = GenerationView(generation=4, sha256="a", version=None, at=NOW - timedelta(seconds=10))
    desired = DesiredView(generation=None, sha256="b", version=None, at=NOW, source="file")
    samples = scrape(Metrics(), having(config={"applied": fact, "desired": desired}))
    assert 4 == samples['compute_ctl_config_generation{fact="applied"}']
    assert 'compute_ctl_config_generation{fact="desired"}' not in samples
    assert 'compute_ctl_config_generation{fact="last_known_good"}' not in samples
    since = samples['compute_ctl_config_timestamp_seconds{fact="applied"}']
    assert since == NOW.timestamp() - 10


def test_trouble() -> None:
    """Age of the suspicion, drift and readiness are read when somebody scrapes."""
    drift = DriftView(name="a", reason="b", file=None, line=None)
    status = having(
        refresh={"suspected_since": NOW - timedelta(seconds=2.5)},
        postgres={"drift": (drift,), "ready": True},
    )
    samples = scrape(Metrics(), status)
    assert 2.5 == samples["compute_ctl_suspected_seconds"]
    assert 1 == samples["compute_ctl_drift"]
    assert 1 == samples["compute_ctl_postgres_ready"]
    assert 0 == scrape(Metrics())["compute_ctl_suspected_seconds"]


def test_downtime_adds_up() -> None:
    """The present downtime is what was told last; the total keeps all of it."""
    metrics = Metrics()
    for current, added in ((1000, 1000), (3000, 2000), (0, 500)):
        metrics.neon.on_downtime(current, added)
    samples = scrape(metrics)
    found = ("compute_pg_current_downtime_ms", "compute_pg_downtime_ms_total")
    assert (0, 3500) == tuple(samples[name] for name in found)


def test_catalog_that_fails() -> None:
    """Catalog work that failed is a gauge to alert on."""
    failing = having(postgres={"catalog_error": "could not"})
    found = [
        scrape(Metrics(), status)["compute_ctl_catalog_failing"] for status in (NOTHING, failing)
    ]
    assert [0, 1] == found


def test_two_nodes_do_not_meet() -> None:
    """Nothing is counted in common."""
    first, second = Metrics(), Metrics()
    first.on_ack(AckAnswer.TAKEN)
    assert 0 == scrape(second)['compute_ctl_acks_total{answer="taken"}']


def test_clean_text() -> None:
    """Every family has help, and nothing is there that is not ours (processes, creation times)."""
    text = Metrics().exposition(NOTHING, now=NOW).decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert len(names) == len(set(names))
    assert all(name.startswith(("compute_", "pg_cctl_")) for name in names)
    assert "_created" not in text
