"""The metrics that Neon's compute_ctl has, too."""

from datetime import UTC, datetime

from msgspec import structs

from compute_ctl.decisions.model import CatalogKind, CatalogRun
from compute_ctl.monitoring.metrics import Metrics
from tests.unit.monitoring.test_metrics import scrape
from tests.unit.snapshots import having

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RUN = CatalogRun(
    kind=CatalogKind.CATALOG, started_at=NOW, finished_at=NOW, duration_ms=1.0, outcome="failed"
)


def test_failures_of_catalog_work() -> None:
    """Timeouts add up; a failed migration is counted under its number; no failure has no series."""
    metrics = Metrics()
    before = scrape(metrics)
    assert 0 == before["pg_cctl_configure_statement_timeout_errors_total"]
    assert not [name for name in before if name.startswith("compute_ctl_db_migration")]
    metrics.on_catalog(structs.replace(RUN, timeouts=2))
    metrics.on_catalog(structs.replace(RUN, timeouts=1))
    metrics.on_catalog(structs.replace(RUN, kind=CatalogKind.MIGRATIONS, failed_migration=4))
    after = scrape(metrics)
    assert 3 == after["pg_cctl_configure_statement_timeout_errors_total"]
    assert 1 == after['compute_ctl_db_migration_failed_total{migration_id="4"}']
    assert 2 == after['compute_ctl_catalog_runs_total{kind="catalog",outcome="failed"}']


def test_extensions() -> None:
    """One series for each version and kind of owner; a count takes the place of the one before."""
    metrics = Metrics()
    metrics.neon.on_extensions({("hstore", "1.7", False): 2, ("plpgsql", "1.0", True): 3})
    metrics.neon.on_extensions({("hstore", "1.8", False): 2, ("plpgsql", "1.0", True): 3})
    name = "compute_installed_extensions"
    assert {
        f'{name}{{extension_name="hstore",owned_by_superuser="0",version="1.8"}}': 2,
        f'{name}{{extension_name="plpgsql",owned_by_superuser="1",version="1.0"}}': 3,
    } == {key: value for key, value in scrape(metrics).items() if key.startswith(name)}


def test_attached_where_the_instance_has_a_name() -> None:
    """One series with whose data it is, only with an instance id and a document."""
    status = having(tenant="t1", timeline="l1")
    labels = 'pg_compute_id="c",pg_instance_id="i",tenant_id="t1",timeline_id="l1"'
    named = Metrics(instance_id="i", compute_id="c")
    assert 1 == scrape(named, status)[f"pg_cctl_attached{{{labels}}}"]
    for samples in (scrape(named), scrape(Metrics(), status)):
        assert not [name for name in samples if name.startswith("pg_cctl_attached")]


def test_what_is_not_done_here_is_zero() -> None:
    """Rates and sums over these families work as they do over Neon's."""
    samples = scrape(Metrics())
    for name in ("prewarms", "prewarm_errors", "offloads", "offload_errors"):
        assert 0 == samples[f"compute_ctl_lfc_{name}_total"]
    assert 0 == samples["compute_audit_log_dir_size"]


def test_every_family_of_the_reference_is_there() -> None:
    """Whoever scrapes Neon's finds each name here; downloads of extensions never happen."""
    expected = {
        "compute_ctl_up",
        "compute_installed_extensions",
        "compute_ctl_cplane_requests_total",
        "compute_ctl_db_migration_failed_total",
        "compute_audit_log_dir_size",
        "compute_pg_current_downtime_ms",
        "compute_pg_downtime_ms_total",
        "compute_ctl_lfc_prewarms_total",
        "compute_ctl_lfc_prewarm_errors_total",
        "compute_ctl_lfc_offloads_total",
        "compute_ctl_lfc_offload_errors_total",
        "pg_cctl_pagestream_request_errors_total",
        "pg_cctl_configure_statement_timeout_errors_total",
        "pg_cctl_attached",
    }
    metrics = Metrics(instance_id="i")
    text = metrics.exposition(having(tenant="t")).decode()
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert set() == expected - shown
