"""New values are tried in the running server; its binary is asked where that is not enough."""

import os
import signal
from pathlib import Path

import pytest

from devstack.compute import Compute
from devstack.installation import binary, give_away
from devstack.launch import Pageserver
from devstack.wait import wait_until
from tests.e2e.conftest import ComputeFactory

MONITOR = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'compute_ctl:compute_activity_monitor' """


class Watched:
    """A compute whose server binary counts how often it is asked."""

    def __init__(self, make_compute: ComputeFactory) -> None:
        self.compute: Compute = make_compute()
        self._calls = self.compute.folder / "asked"
        self._calls.touch()
        give_away(self._calls)
        self.compute.daemon.argv += ["--pgbin", str(self._binary())]
        self._pageserver: Pageserver = self.compute.pageserver("a")
        self.publish(work_mem="5MB")
        self.daemon = self.compute.start_daemon()
        wait_until("the monitor", lambda: self.compute.postgres.value(MONITOR) == 1)

    def _binary(self) -> Path:
        path = self.compute.folder / "counting-postgres"
        path.write_text(f'#!/bin/sh\necho "$@" >> {self._calls}\nexec {binary("postgres")} "$@"\n')
        path.chmod(0o755)
        give_away(path)
        return path

    def publish(self, **settings: str) -> None:
        """Publish a document with *settings*, `__` for a dot in a name."""
        named = {name.replace("__", "."): value for name, value in settings.items()}
        self.compute.publish(self._pageserver, settings=named)

    def refresh(self) -> tuple[str, int]:
        """Refresh; return the outcome, and how often was asked."""
        before = self.asked
        return self.daemon.refresh(), self.asked - before

    @property
    def asked(self) -> int:
        """How often the binary was asked."""
        return len(self._calls.read_text().splitlines())


def test_good_values_need_no_binary(make_compute: ComputeFactory) -> None:
    """What any session may set is tried in one, whatever a library's settings say."""
    watched = Watched(make_compute)
    watched.publish(work_mem="6MB", timezone="Asia/Tokyo", my__own="x")

    # A look of the monitor at that very moment sends the trial to the binary.
    found = [watched.refresh()]
    if found[0][1]:
        watched.publish(work_mem="7MB", timezone="Asia/Tokyo", my__own="x")
        found.append(watched.refresh())

    assert ("applied", 0) == found[-1]
    assert "Asia/Tokyo" == watched.compute.setting("TimeZone")


def test_a_bad_value_is_refused_before_it_is_written(make_compute: ComputeFactory) -> None:
    """The binary says why, and nothing is touched."""
    watched = Watched(make_compute)
    live = watched.compute.postgres.data / "compute_ctl.conf"
    before = live.read_bytes()
    watched.publish(work_mem="1kB")

    assert ("rejected", 1) == watched.refresh()

    reason = "work_mem: 1 kB is outside the valid range (64 .. 2147483647)"
    assert reason == watched.daemon.status()["error"]
    assert before == live.read_bytes()


def test_what_no_session_may_set_goes_to_the_binary(make_compute: ComputeFactory) -> None:
    """Another context, or a setting that is gone."""
    watched = Watched(make_compute)

    watched.publish(work_mem="5MB", autovacuum_naptime="2min")
    assert ("applied", 1) == watched.refresh()
    watched.publish(work_mem="5MB")
    assert ("applied", 1) == watched.refresh()


@pytest.mark.parametrize(
    ("report", "asked"), [({}, 0), ({"source": "pageserver", "class": "connect"}, 1)]
)
def test_requests_of_a_library(
    make_compute: ComputeFactory, report: dict[str, str], asked: int
) -> None:
    """A bare request is served as fast; where the server waits for pages, SQL is left alone."""
    watched = Watched(make_compute)
    watched.publish(work_mem="6MB")
    before = watched.asked

    header = {"X-Refresh-Source": "worker"}
    watched.daemon.call("POST", "/refresh_configuration", report or None, headers=header, tcp=True)
    wait_until("the value", lambda: watched.compute.setting("work_mem") == "6144")

    assert asked == watched.asked - before


def test_a_session_that_hangs_sends_to_the_binary(make_compute: ComputeFactory) -> None:
    """A trial without an answer is no verdict, and costs no more than its time."""
    watched = Watched(make_compute)
    pid = watched.compute.postgres.value(MONITOR.replace("count(*)", "max(pid)"))
    watched.publish(work_mem="6MB")

    os.kill(pid, signal.SIGSTOP)
    try:
        assert ("applied", 1) == watched.refresh()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "6144" == watched.compute.setting("work_mem")
