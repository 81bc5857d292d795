"""A source in trouble: the old configuration stays in force, the status says why, and it heals."""

from collections.abc import Callable
from typing import Any

import pytest

from devstack.compute import TENANT, TIMELINE, Compute
from devstack.document import attached
from devstack.fault_proxy.client import Faults
from devstack.wait import wait_until
from tests.e2e.conftest import ComputeFactory
from tests.support.queries import running_queries

ROWS = 1000


def document(url: str, **fields: Any) -> dict[str, Any]:
    """Return a document that names one pageserver."""
    return attached(tenant=TENANT, timeline=TIMELINE, pageservers=[url], **fields)


def test_refresh_from_failed(compute: Compute) -> None:
    """A bad first configuration fails; a good one that follows brings the status to running."""
    scan = compute.fill(ROWS)
    a = compute.pageserver("a")
    compute.publish_document(document(a.url, settings={"work_mem": "banana"}))
    daemon = compute.start_daemon(in_sync=False)
    failed = daemon.wait_status("failed", lambda found: found["status"] == "failed" and found)
    assert 'work_mem: invalid value: "banana"' in failed["error"]
    assert failed["config"]["applied"] is None

    compute.publish(a, settings={"work_mem": "5MB"})

    assert daemon.refresh() in ("applied", "unchanged")
    healed = daemon.status()
    assert "running" == healed["status"]
    assert healed["error"] is None
    assert "5120" == compute.setting("work_mem")
    assert ROWS == compute.postgres.value(scan)


def test_a_failed_push_is_healed_by_a_refresh(compute: Compute) -> None:
    """A refused POST /configure leaves the old settings, and the next refresh works."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    bad = document(a.url, settings={"work_mem": "banana"}, generation=7)
    code, body = daemon.call("POST", "/configure", bad)
    assert 500 == code
    assert "work_mem" in body["error"]
    assert "failed" == daemon.status()["status"]
    assert compute.setting("neon.pageserver_connstring") == a.url

    compute.publish(b, generation=8)

    assert "applied" == daemon.refresh()
    assert "running" == daemon.status()["status"]
    assert compute.setting("neon.pageserver_connstring") == b.url


def test_a_bad_setting_does_not_cost_the_new_pageserver(compute: Compute) -> None:
    """Beside a refused work_mem the new list still takes effect; the old work_mem stays."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, settings={"work_mem": "5MB"})
    daemon = compute.start_daemon()

    compute.publish(b, settings={"work_mem": "banana"})

    assert "rejected" == daemon.refresh()
    assert compute.setting("neon.pageserver_connstring") == b.url
    assert "5120" == compute.setting("work_mem")
    assert daemon.status()["config"]["in_sync"] is False


def test_a_document_that_cannot_be_written_still_heals(compute: Compute) -> None:
    """While Postgres suffers, a bad setting name does not keep the new server list from it."""
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, settings={"work_mem": "5MB"})
    daemon = compute.start_daemon()
    with running_queries(compute.postgres.connect) as start:
        a.kill()
        query = start(scan)
        daemon.wait_status("a worker's request", lambda found: found["refresh"]["suspicion"])
        compute.publish(b, settings={"not a name": "1"})

        assert ROWS == query.value()
    assert compute.setting("neon.pageserver_connstring") == b.url
    error = daemon.wait_status("the refusal", lambda found: found["error"])
    assert "spec.cluster.settings[0].name" in error


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        pytest.param(lambda it: it.strike("drop"), "control plane", id="down"),
        pytest.param(lambda it: it.strike("silent"), "no answer", id="silent"),
        pytest.param(lambda it: it.answer(code=503), "503", id="503"),
        pytest.param(lambda it: it.answer(code=404), "404", id="404"),
        pytest.param(lambda it: it.answer("<html>not what you asked for"), "JSON", id="garbage"),
        pytest.param(lambda it: it.strike("half"), "JSON", id="half JSON"),
    ],
)
def test_control_plane_in_trouble(
    pulling: Compute, trouble: Callable[[Faults], None], reason: str
) -> None:
    """Whatever the control plane does, Postgres keeps what it has, and heals afterwards."""
    scan = pulling.fill(ROWS)
    a, b = pulling.pageserver("a"), pulling.pageserver("b")
    pulling.publish(a)
    daemon = pulling.start_daemon()
    trouble(pulling.faults)
    pulling.publish(b)

    assert "fetch_failed" == daemon.refresh()

    assert pulling.setting("neon.pageserver_connstring") == a.url
    assert ROWS == pulling.postgres.value(scan)
    assert reason in daemon.status()["error"]
    pulling.faults.clear()
    assert daemon.refresh() in ("applied", "unchanged")
    daemon.wait_status("the heal", lambda found: found["error"] is None)
    assert pulling.setting("neon.pageserver_connstring") == b.url


def test_an_older_answer_does_not_bring_the_old_pageserver_back(pulling: Compute) -> None:
    """A replica of the control plane that lags behind is ignored."""
    a, b = pulling.pageserver("a"), pulling.pageserver("b")
    pulling.publish(a)
    daemon = pulling.start_daemon()
    pulling.publish(b)
    assert daemon.refresh() in ("applied", "unchanged")  # it may have been told
    pulling.faults.strike("older")

    assert "stale" == daemon.refresh()

    assert pulling.setting("neon.pageserver_connstring") == b.url
    assert "older" in daemon.status()["error"]


def test_one_empty_answer_does_not_stop_postgres(pulling: Compute) -> None:
    """A detach must be said twice; an attached answer in between forgets it."""
    a = pulling.pageserver("a")
    pulling.publish(a)
    daemon = pulling.start_daemon()
    pulling.faults.answer({"status": "empty"})

    assert "empty" == daemon.refresh()
    assert "empty" in daemon.status()["error"]
    assert pulling.postgres.running
    pulling.faults.clear()

    assert "unchanged" == daemon.refresh()
    assert "running" == daemon.status()["status"]
    assert pulling.setting("neon.pageserver_connstring") == a.url


def test_older_file_is_refused(compute: Compute) -> None:
    """An older generation is ignored; A ▸ B ▸ A is fine where the generation grows."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(b, generation=5)
    daemon = compute.start_daemon()

    compute.publish(a, generation=4)
    assert "stale" == daemon.refresh()
    assert compute.setting("neon.pageserver_connstring") == b.url

    compute.publish(a, generation=6)
    assert "applied" == daemon.refresh()
    assert compute.setting("neon.pageserver_connstring") == a.url


def test_only_an_operator_is_called_one(compute: Compute) -> None:
    """Status and history tell a person's request from the daemon's own look after a restart."""
    compute.publish(compute.pageserver("a"))
    compute.start_daemon().stop()
    daemon = compute.start_daemon()
    last = daemon.wait_status("an attempt", lambda found: found["refresh"]["last_attempt"])
    assert "clock" == last["who"]

    daemon.refresh()

    assert "operator" == daemon.status()["refresh"]["last_attempt"]["who"]


def test_restart_while_the_control_plane_is_down(pulling: Compute) -> None:
    """What is known runs on; the news is there within seconds of the control plane's return."""
    a = pulling.pageserver("a")
    pulling.publish(a, settings={"work_mem": "8MB"})
    pulling.start_daemon().stop()
    pulling.faults.answer(code=503)
    pulling.publish(a, settings={"work_mem": "16MB"})

    daemon = pulling.start_daemon(in_sync=False)

    who = daemon.wait_status(
        "asking again",
        lambda found: (
            (last := found["refresh"]["last_attempt"]) and last["who"] != "clock" and last["who"]
        ),
    )
    assert "start" == who
    assert "8192" == pulling.setting("work_mem")
    pulling.faults.clear()
    wait_until("the news", lambda: pulling.setting("work_mem") == "16384")


def test_what_follows_an_operators_failed_fetch(compute: Compute) -> None:
    """It is asked again for that operator, and called so: Postgres suspects nothing."""
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    compute.config.unlink()

    assert "fetch_failed" == daemon.refresh()

    daemon.wait_status(
        "another attempt, called so",  # a long poll comes between, sooner or later
        lambda found: found["refresh"]["last_attempt"]["who"] == "operator_retry",
    )


def test_periodic_looks_are_not_logged(make_compute: ComputeFactory) -> None:
    """A look that finds nothing leaves no line, however often; one that somebody asked for does."""
    compute = make_compute(daemon_options=["--reconcile-interval", "1"])
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    daemon.refresh()
    done = daemon.metric("compute_ctl_refresh_attempts_total")
    lines = daemon.log_text().count("status changed")
    assert 1 == daemon.log_text().count("loopback asks for a refresh")

    daemon.wait_status(
        "three looks", lambda _: daemon.metric("compute_ctl_refresh_attempts_total") >= done + 3
    )

    assert daemon.log_text().count("status changed") == lines


def test_unproven_names_what_sql_said(make_compute: ComputeFactory) -> None:
    """Where neither the library nor SQL can prove anything, the reason says why SQL could not."""
    compute = make_compute(
        settings={"shared_preload_libraries": ""},
        daemon_options=["--connstr", "host=127.0.0.1 port=1 user=nobody password=secret1"],
    )
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon(in_sync=False)

    error = daemon.wait_status("unproven", lambda found: found["error"])

    unproven = "postgres did not acknowledge the configuration, and cannot be asked over SQL: "
    assert error.startswith(unproven)
    assert "refused" in error
    assert "\n" not in error
    assert "secret1" not in error + daemon.log_text()
    assert 1 == daemon.log_text().count("could not look at postgres over SQL")


def test_a_missing_library_is_said(make_compute: ComputeFactory) -> None:
    """Without the library everything is applied, but nobody would ask: one warning says so."""
    compute = make_compute(settings={"shared_preload_libraries": ""})
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    daemon.refresh()
    assert 1 == daemon.log_text().count('postgres has not loaded "neon_refresh"')


def test_a_restart_leaves_the_way_back(compute: Compute) -> None:
    """The version before a refused one is welcome, also to a daemon started since."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, generation=1)
    daemon = compute.start_daemon()
    compute.publish(b, generation=3, settings={"work_mem": "banana"})
    assert "rejected" == daemon.refresh()
    assert compute.setting("neon.pageserver_connstring") == b.url
    daemon.kill()
    compute.publish(a, generation=2)
    daemon.start()
    compute.wait_in_sync()
    assert compute.setting("neon.pageserver_connstring") == a.url
