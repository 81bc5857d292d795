"""The status, and since when it is so."""

from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.node.observer import Observers
from compute_ctl.node.status_machine import StatusMachine
from tests.support.clock import FakeClock


def test_a_look_that_finds_nothing_is_no_news() -> None:
    """A periodic look leaves the time of the status alone, a complaint does not."""
    clock = FakeClock(now=0.0)
    life = StatusMachine(clock=clock, observer=Observers())
    clock.now = 1.0
    life.move(Event.PG_READY, "")
    clock.now = 300.0
    for event in (Event.REFRESH, Event.FETCH_STARTED, Event.SETTLE_READY):
        life.move(event, "")
    assert (Status.RUNNING, 1.0) == (life.status, life.since)
    clock.now = 400.0
    life.move(Event.REFRESH, "postgres complains")
    clock.now = 401.0
    life.move(Event.FETCH_STARTED, "")
    assert (Status.REFRESH_CONFIGURATION, 400.0) == (life.status, life.since)
    clock.now = 402.0
    life.move(Event.SETTLE_READY, "")
    assert (Status.RUNNING, 402.0) == (life.status, life.since)


def test_the_end_is_told() -> None:
    """Who waits for the end is woken, once for its beginning and once for the end itself."""
    life = StatusMachine(clock=FakeClock(now=0.0), observer=Observers())
    life.move(Event.PG_READY, "")
    life.move(Event.TERMINATE_FAST, "")
    assert (True, False) == (life.terminating_event.is_set(), life.stopped.is_set())
    life.move(Event.STOPPED, "")
    assert life.stopped.is_set()
