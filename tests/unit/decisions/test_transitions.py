"""The state table, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_ctl.decisions.transitions import (
    TERMINATING,
    TRANSITIONS,
    Event,
    Status,
    next_status,
    settle_event,
)
from compute_ctl.errors import IllegalTransitionError

S, E = Status, Event
LIVE = sorted(set(Status) - TERMINATING)
ATTEMPT_ENDS = [E.RETRY, E.SETTLE_READY, E.SETTLE_NOT_READY, E.SETTLE_FAILED, E.ATTEMPT_FAILED]


def test_every_status_has_its_row() -> None:
    """No status is forgotten, and none but the known ones can be reached."""
    assert set(TRANSITIONS) == set(Status)


def test_spellings_are_those_of_the_reference() -> None:
    """The values of the statuses are API."""
    assert {
        "empty",
        "configuration_pending",
        "init",
        "running",
        "configuration",
        "failed",
        "refresh_configuration_pending",
        "refresh_configuration",
        "termination_pending_fast",
        "termination_pending_immediate",
        "terminated",
    } == {status.value for status in Status}
    assert "refresh-configuration-pending" == S.REFRESH_CONFIGURATION_PENDING.kebab


@pytest.mark.parametrize("status", LIVE)
@pytest.mark.parametrize("event", [E.REFRESH, E.CONFIGURE, E.TERMINATE_FAST])
def test_no_live_status_is_a_dead_end(status: Status, event: Event) -> None:
    """Refresh, configure and terminate are accepted in every status but the terminating ones."""
    next_status(status, event)


@pytest.mark.parametrize("status", sorted(TERMINATING))
@pytest.mark.parametrize("event", [E.REFRESH, E.CONFIGURE, E.FETCH_STARTED])
def test_nothing_revives_a_terminating_compute(status: Status, event: Event) -> None:
    """A terminating compute takes no further work."""
    with pytest.raises(IllegalTransitionError, match=f'"{event}".*"{status}"'):
        next_status(status, event)


@pytest.mark.parametrize(
    ("status", "event", "expected"),
    [
        (S.FAILED, E.REFRESH, S.REFRESH_CONFIGURATION_PENDING),
        (S.REFRESH_CONFIGURATION_PENDING, E.FETCH_STARTED, S.REFRESH_CONFIGURATION),
        (S.REFRESH_CONFIGURATION, E.SETTLE_READY, S.RUNNING),
        (S.REFRESH_CONFIGURATION, E.RETRY, S.REFRESH_CONFIGURATION_PENDING),
        (S.REFRESH_CONFIGURATION, E.CONFIGURE, S.CONFIGURATION_PENDING),
        (S.CONFIGURATION_PENDING, E.PUSH_STARTED_ONLINE, S.CONFIGURATION),
        (S.CONFIGURATION_PENDING, E.PUSH_STARTED_OFFLINE, S.INIT),
        (S.CONFIGURATION, E.REFRESH, S.CONFIGURATION),
        (S.CONFIGURATION, E.ATTEMPT_FAILED, S.FAILED),
        (S.INIT, E.PG_READY, S.RUNNING),
        (S.RUNNING, E.PG_LOST, S.INIT),
        (S.EMPTY, E.TERMINATE_FAST, S.TERMINATED),
        (S.TERMINATION_PENDING_FAST, E.TERMINATE_IMMEDIATE, S.TERMINATION_PENDING_IMMEDIATE),
        (S.TERMINATION_PENDING_IMMEDIATE, E.TERMINATE_FAST, S.TERMINATION_PENDING_IMMEDIATE),
    ],
)
def test_rows_that_users_rely_on(status: Status, event: Event, expected: Status) -> None:
    """The story of a refresh, a configure and a termination."""
    assert expected == next_status(status, event)


@pytest.mark.parametrize(
    ("ready", "in_force", "last_failed", "expected"),
    [
        (True, True, False, E.SETTLE_READY),
        (True, True, True, E.SETTLE_READY),
        (False, True, True, E.SETTLE_NOT_READY),
        (False, False, False, E.SETTLE_NOT_READY),
        (True, False, True, E.SETTLE_FAILED),
        (False, False, True, E.SETTLE_FAILED),
    ],
)
def test_home(*, ready: bool, in_force: bool, last_failed: bool, expected: Event) -> None:
    """Home is `failed` only where nothing is in force and the last attempt failed."""
    assert expected == settle_event(ready=ready, in_force=in_force, last_failed=last_failed)


@given(st.lists(st.sampled_from(list(Event)), max_size=40))
def test_every_path_can_be_healed(events: list[Event]) -> None:
    """After any path, a refresh that ends well on a ready Postgres leads to `running`."""
    status = S.EMPTY
    for event in events:
        status = TRANSITIONS[status].get(event, status)
    if status in TERMINATING:
        return
    for event in (E.REFRESH, E.PUSH_STARTED_ONLINE, E.FETCH_STARTED, E.SETTLE_READY):
        status = TRANSITIONS[status].get(event, status)

    assert status is S.RUNNING


@given(st.sampled_from(sorted(TERMINATING)), st.lists(st.sampled_from(list(Event)), max_size=20))
def test_every_terminating_path_ends(start: Status, events: list[Event]) -> None:
    """Whatever happens meanwhile, the end of Postgres ends a terminating compute."""
    status = start
    for event in events:
        status = TRANSITIONS[status].get(event, status)

    assert next_status(status, E.STOPPED) is S.TERMINATED


@pytest.mark.parametrize("event", ATTEMPT_ENDS)
@pytest.mark.parametrize("status", [S.CONFIGURATION, S.REFRESH_CONFIGURATION])
def test_every_attempt_can_end_in_every_way(status: Status, event: Event) -> None:
    """A running attempt has an exit for each of its ends."""
    next_status(status, event)
