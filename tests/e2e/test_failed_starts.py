"""What a server starts with, and what follows when it does not."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.compute import Compute
from devstack.daemon import Daemon
from devstack.installation import binary, free_port
from devstack.postgres import Template
from devstack.wait import wait_until
from tests.e2e.test_supervise import Supervised, running


@pytest.fixture
def supervised(template: Template) -> Iterator[Supervised]:
    """A daemon that is about to be started on a cluster that exists already."""
    made = Supervised()
    made.data.rmdir()
    subprocess.run(["cp", "-a", str(template.data), str(made.data)], check=True)
    made.connstr = made.connstr.replace("user=cloud_admin", "user=postgres")
    made.daemon = Daemon(
        pgdata=made.data,
        connstr=made.connstr,
        port=free_port(),
        log=made.folder / "compute_ctl.log",
        pgbin=binary("postgres"),
        config=made.config,
        attach=False,
    )
    yield made
    if made.daemon.child is not None and made.daemon.child.poll() is None:
        made.daemon.stop()
    shutil.rmtree(made.folder, ignore_errors=True)


def generations(supervised: Supervised) -> dict[str, int | None]:
    """Return the generation of each fact."""
    config = supervised.daemon.status()["config"]
    names = ("applied", "started", "last_known_good")
    return {name: config[name] and config[name]["generation"] for name in names}


def test_good_means_started(supervised: Supervised) -> None:
    """What was only reloaded is not known to start a server; a restart makes it so."""
    supervised.publish(work_mem="7MB")
    running(supervised)
    daemon = supervised.daemon
    assert {"applied": 1, "started": 1, "last_known_good": 1} == generations(supervised)

    supervised.publish(work_mem="8MB")
    assert "applied" == daemon.refresh()
    assert {"applied": 2, "started": 1, "last_known_good": 1} == generations(supervised)

    daemon.kill()
    running(supervised)
    assert {"applied": 2, "started": 1, "last_known_good": 1} == generations(supervised)

    assert 0 == daemon.stop()
    running(supervised)
    everywhere = {"applied": 2, "started": 2, "last_known_good": 2}
    wait_until("the second one to be good", lambda: generations(supervised) == everywhere)


def test_a_failed_start_goes_back_until_a_server_comes_up(supervised: Supervised) -> None:
    """Settings that reload and do not start cost themselves, however many reloads ago."""
    collected: dict[str, Any] = {"logging_collector": "on", "log_directory": str(supervised.folder)}
    supervised.publish(work_mem="7MB", primary_conninfo="host=old", **collected)
    running(supervised)
    daemon = supervised.daemon
    # Nobody hears what the postmaster says of this: its log is in a file, the library not loaded.
    supervised.publish(work_mem="8MB", ssl="on", primary_conninfo="host=old", **collected)
    assert "applied" == daemon.refresh()
    supervised.publish(work_mem="9MB", ssl="on", primary_conninfo="host=new", **collected)
    assert "applied" == daemon.refresh()
    assert 0 == daemon.stop()

    daemon.start()
    found = daemon.wait_status("running", lambda found: found["status"] == "running" and found)

    shown = [supervised.show(name) for name in ("work_mem", "ssl", "primary_conninfo")]
    assert ["7MB", "off", "host=new"] == shown
    said = 'could not load server certificate file "server.crt": No such file or directory'
    assert f"postgres did not start: {said}" in daemon.log_text()
    found = daemon.wait_status("the proof", lambda found: found["config"]["applied"] and found)
    (refused,) = found["config"]["quarantined"]
    assert said in refused["reason"]
    assert not found["config"]["in_sync"]
    running_again = found["config"]["started"]["generation"]
    assert 0 == daemon.stop()

    daemon.start()
    daemon.wait_status("running", lambda found: found["status"] == "running")
    assert running_again == generations(supervised)["started"]


def test_a_start_that_no_settings_help_blames_no_document(supervised: Supervised) -> None:
    """A port in use: each generation is tried once, and the newest is back in place at the end."""
    supervised.publish(work_mem="7MB")
    running(supervised)
    daemon = supervised.daemon
    for size in ("8MB", "9MB"):
        supervised.publish(work_mem=size)
        assert "applied" == daemon.refresh()
    assert 0 == daemon.stop()
    place = supervised.folder / f".s.PGSQL.{supervised.port}.lock"
    place.mkdir()

    daemon.start()
    found = daemon.wait_status("failed", lambda found: found["status"] == "failed" and found)

    assert "could not read lock file" in found["error"]
    assert [] == found["config"]["quarantined"]
    assert "work_mem = '9MB'" in (supervised.data / "postgresql.conf").read_text()
    assert 3 == daemon.log_text().count("FATAL:  could not read lock file")
    place.rmdir()
    daemon.kill()

    running(supervised)
    assert "9MB" == supervised.show("work_mem")


def refused_for_tls(daemon: Daemon) -> dict[str, Any]:
    """Wait until the settings are refused for what the postmaster said; return the status."""
    found: dict[str, Any] = daemon.wait_status(
        "the refusal",
        lambda found: (
            found["config"]["quarantined"]
            and found["config"]["applied"]
            and not found["config"]["applied"]["sha256"]
            and found
        ),
    )
    (refused,) = found["config"]["quarantined"]
    assert "SSL configuration was not reloaded" in refused["reason"]
    assert not found["config"]["in_sync"]
    assert 503 == daemon.call("GET", "/syncz")[0]
    return found


def test_what_the_postmaster_did_not_reload_is_refused(supervised: Supervised) -> None:
    """TLS without a certificate reloads without an error in any view: its log tells."""
    supervised.publish(work_mem="7MB")
    running(supervised)
    daemon = supervised.daemon

    supervised.publish(work_mem="8MB", ssl="on")
    assert "rejected" == daemon.refresh()

    found = refused_for_tls(daemon)
    assert 'could not load server certificate file "server.crt"' in found["error"]
    assert ["7MB", "off"] == [supervised.show(name) for name in ("work_mem", "ssl")]
    assert 0 == daemon.stop()
    daemon.start()
    daemon.wait_status("running", lambda found: found["status"] == "running")
    assert "7MB" == supervised.show("work_mem")


def test_a_broken_file_of_the_operator_is_no_fault_of_the_document(supervised: Supervised) -> None:
    """It is shown as drift until it is mended, and nothing is rolled back."""
    supervised.publish(work_mem="7MB")
    running(supervised)
    daemon, hba = supervised.daemon, supervised.data / "pg_hba.conf"
    good = hba.read_text()
    hba.write_text(f"{good}nonsense\n")

    supervised.publish(work_mem="8MB")
    assert "applied" == daemon.refresh()

    assert "8MB" == supervised.show("work_mem")
    status = daemon.status()
    assert [] == status["config"]["quarantined"]
    (drift,) = status["postgres"]["drift"]
    assert "hba_file" == drift["name"]
    assert drift["reason"].startswith("pg_hba.conf was not reloaded (")

    hba.write_text(good)
    supervised.publish(work_mem="9MB")
    assert "applied" == daemon.refresh()
    assert [] == daemon.status()["postgres"]["drift"]


def test_attached_the_library_tells_what_was_not_reloaded(compute: Compute) -> None:
    """It comes with an acknowledgement, perhaps after the one that made the settings applied."""
    a = compute.pageserver("a")
    compute.publish(a, settings={"work_mem": "7MB"})
    daemon = compute.start_daemon()

    compute.publish(a, settings={"work_mem": "8MB", "ssl": "on"})
    assert daemon.refresh() in ("applied", "rejected")

    refused_for_tls(daemon)
    wait_until("the settings before", lambda: compute.setting("work_mem") == "7168")
    assert ("off", a.url) == (
        compute.setting("ssl"), compute.setting("neon.pageserver_connstring")
    )  # fmt: skip
