"""kill -9 at every step of a promotion: a standby that follows is left, or a primary."""

import http.client
from contextlib import suppress

import pytest

from compute_common.system.failpoint import VARIABLE
from devstack.wait import wait_until
from tests.e2e.crashing import crash_at
from tests.e2e.promoting import (
    Pair,
    is_primary,
    is_standby,
    primary,
    startup_stopped,
    waits_for_promotion,
)

WRITING = ("before-generation", "before-swap", "before-signal", "before-late-generation")
"""Steps of an application that come while a file is written."""


def crash(pair: Pair, step: str) -> None:
    """Have the daemon die at *step* of a promotion."""
    pair.daemon.stop()
    pair.daemon.env[VARIABLE] = step
    pair.daemon.start()
    child = pair.daemon.child
    assert child is not None
    with suppress(OSError, http.client.HTTPException):
        pair.promote(primary(synchronous_standby_names="", log_min_messages="log"))
    assert -9 == wait_until("the crash", child.poll, 60)
    del pair.daemon.env[VARIABLE]


@pytest.mark.parametrize("step", [*WRITING, "before-promote"])
def test_a_crash_before_the_promotion(pair: Pair, step: str) -> None:
    """The next daemon leaves a standby that follows as before; a promotion succeeds."""
    pair.start()
    crash(pair, step)

    pair.daemon.start()

    is_standby(pair, 2)
    assert "1" == pair.settles()["config"]["applied"]["version"]
    assert "unchanged" == pair.daemon.refresh()
    assert 200 == pair.promote(primary())[0]
    is_primary(pair)


@pytest.mark.parametrize("step", ["", *WRITING])
def test_a_crash_after_the_promotion(pair: Pair, step: str) -> None:
    """The next daemon brings the document into force, and so does the one after it."""
    pair.start()
    crash(pair, "after-promote")
    if step:
        crash_at(pair.daemon, step)

    pair.daemon.start()

    is_primary(pair)
    assert "2" == pair.settles()["config"]["applied"]["version"]
    assert "stale" == pair.daemon.refresh()
    is_primary(pair)


def test_a_crash_while_the_server_promotes(pair: Pair) -> None:
    """The next daemon takes the request back, as long as the server has not taken it."""
    pair.start()
    with startup_stopped(pair):
        waits_for_promotion(pair)
        pair.daemon.kill()
        pair.daemon.start()
        pair.settles()
        assert "failed" == pair.promotion["status"]
        assert not (pair.standby.data / "promote").exists()

    is_standby(pair, 2)
    assert 200 == pair.promote(primary(3))[0]
    is_primary(pair)
