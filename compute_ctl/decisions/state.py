"""The state machine: one literal table, (status, event) → status. Pure.

Rules. All that may happen to the status stands in `TRANSITIONS`; only `node.life.Life` uses it. An
event without a row raises and changes nothing. The spellings of `Status` are API (they are the
reference's). What depends on circumstances comes as three events: `home_ready`, `home_not_ready`,
`home_failed` (see `home_event`), so that the table stays literal.

- A refresh or configure is accepted in every status but the terminating ones.
- While Postgres comes and goes, an attempt that runs or waits stays what it is; whether Postgres
  accepts connections is shown beside the status, and decides where *home* is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from compute_ctl.errors import IllegalTransitionError


class Status(StrEnum):
    """What the compute is doing; the values are part of the API."""

    EMPTY = "empty"
    """No document yet."""
    CONFIGURATION_PENDING = "configuration_pending"
    """A pushed document waits to be taken."""
    INIT = "init"
    """Postgres does not accept connections (yet, or any more)."""
    RUNNING = "running"
    """Postgres accepts connections and nothing is going on."""
    CONFIGURATION = "configuration"
    """A pushed document is being applied."""
    FAILED = "failed"
    """Nothing is in force and the last attempt failed, or a fallback failed."""
    REFRESH_CONFIGURATION_PENDING = "refresh_configuration_pending"
    """Somebody suspects that the configuration is out of date; the next fetch is planned."""
    REFRESH_CONFIGURATION = "refresh_configuration"
    """A document is being fetched and, if it is news, applied."""
    TERMINATION_PENDING_FAST = "termination_pending_fast"
    TERMINATION_PENDING_IMMEDIATE = "termination_pending_immediate"
    TERMINATED = "terminated"

    @property
    def kebab(self) -> str:
        """The spelling in messages and metrics of the reference."""
        return self.value.replace("_", "-")


class Event(StrEnum):
    """What can happen."""

    CONFIGURE = "configure"
    """A document was pushed."""
    TAKEN_START = "taken_start"
    """A pushed document was taken; Postgres is yet to be started with it."""
    TAKEN_APPLY = "taken_apply"
    """A pushed document was taken; a Postgres exists."""
    REFRESH = "refresh"
    """Somebody, or the clock, asks to look again."""
    DUE = "due"
    """The planned fetch begins."""
    AGAIN = "again"
    """An attempt ended, and there is reason for another."""
    HOME_READY = "home_ready"
    HOME_NOT_READY = "home_not_ready"
    HOME_FAILED = "home_failed"
    ATTEMPT_FAILED = "attempt_failed"
    """A push failed, or neither a new configuration nor the one to fall back to took hold."""
    PG_READY = "pg_ready"
    PG_LOST = "pg_lost"
    START_FAILED = "start_failed"
    """Postgres did not start, on the good generation either."""
    DETACHED = "detached"
    """The control plane confirmed that this compute is empty, and there is no Postgres to stop."""
    TERMINATE_FAST = "terminate_fast"
    TERMINATE_IMMEDIATE = "terminate_immediate"
    STOPPED = "stopped"
    """Postgres has ended."""


S, E = Status, Event
_HOME: Final = {
    E.HOME_READY: S.RUNNING,
    E.HOME_NOT_READY: S.INIT,
    E.HOME_FAILED: S.FAILED,
}
_ANYTIME: Final = {
    E.CONFIGURE: S.CONFIGURATION_PENDING,
    E.TERMINATE_FAST: S.TERMINATION_PENDING_FAST,
    E.TERMINATE_IMMEDIATE: S.TERMINATION_PENDING_IMMEDIATE,
    E.STOPPED: S.TERMINATED,
}
# A push that is taken while there is no Postgres leaves the status free for what happens meanwhile;
# so its end may be met by any of these.
_RESTING: Final = (
    _ANYTIME
    | _HOME
    | {
        E.REFRESH: S.REFRESH_CONFIGURATION_PENDING,
        E.AGAIN: S.REFRESH_CONFIGURATION_PENDING,
        E.ATTEMPT_FAILED: S.FAILED,
    }
)
_ATTEMPT: Final = (
    _ANYTIME
    | _HOME
    | {E.AGAIN: S.REFRESH_CONFIGURATION_PENDING, E.ATTEMPT_FAILED: S.FAILED, E.DETACHED: S.EMPTY}
)

TRANSITIONS: Final[Mapping[Status, Mapping[Event, Status]]] = MappingProxyType(
    {
        S.EMPTY: _ANYTIME
        | {
            E.REFRESH: S.REFRESH_CONFIGURATION_PENDING,
            E.PG_READY: S.RUNNING,
            E.PG_LOST: S.EMPTY,
            E.TERMINATE_FAST: S.TERMINATED,
            E.TERMINATE_IMMEDIATE: S.TERMINATED,
        },
        S.CONFIGURATION_PENDING: _ANYTIME
        | {
            E.TAKEN_START: S.INIT,
            E.TAKEN_APPLY: S.CONFIGURATION,
            E.REFRESH: S.CONFIGURATION_PENDING,
            E.PG_READY: S.CONFIGURATION_PENDING,
            E.PG_LOST: S.CONFIGURATION_PENDING,
        },
        S.INIT: _RESTING
        | {
            E.PG_READY: S.RUNNING,
            E.PG_LOST: S.INIT,
            E.START_FAILED: S.FAILED,
        },
        S.RUNNING: _RESTING | {E.PG_READY: S.RUNNING, E.PG_LOST: S.INIT},
        S.CONFIGURATION: _ATTEMPT
        | {
            E.REFRESH: S.CONFIGURATION,
            E.PG_READY: S.CONFIGURATION,
            E.PG_LOST: S.CONFIGURATION,
        },
        S.FAILED: _RESTING | {E.PG_READY: S.FAILED, E.PG_LOST: S.FAILED},
        S.REFRESH_CONFIGURATION_PENDING: _RESTING
        | {
            E.DUE: S.REFRESH_CONFIGURATION,
            E.PG_READY: S.REFRESH_CONFIGURATION_PENDING,
            E.PG_LOST: S.REFRESH_CONFIGURATION_PENDING,
        },
        S.REFRESH_CONFIGURATION: _ATTEMPT
        | {
            E.REFRESH: S.REFRESH_CONFIGURATION,
            E.PG_READY: S.REFRESH_CONFIGURATION,
            E.PG_LOST: S.REFRESH_CONFIGURATION,
        },
        S.TERMINATION_PENDING_FAST: {
            E.TERMINATE_FAST: S.TERMINATION_PENDING_FAST,
            E.TERMINATE_IMMEDIATE: S.TERMINATION_PENDING_IMMEDIATE,
            E.PG_READY: S.TERMINATION_PENDING_FAST,
            E.PG_LOST: S.TERMINATION_PENDING_FAST,
            E.STOPPED: S.TERMINATED,
        },
        S.TERMINATION_PENDING_IMMEDIATE: {
            E.TERMINATE_FAST: S.TERMINATION_PENDING_IMMEDIATE,
            E.TERMINATE_IMMEDIATE: S.TERMINATION_PENDING_IMMEDIATE,
            E.PG_READY: S.TERMINATION_PENDING_IMMEDIATE,
            E.PG_LOST: S.TERMINATION_PENDING_IMMEDIATE,
            E.STOPPED: S.TERMINATED,
        },
        S.TERMINATED: {
            E.TERMINATE_FAST: S.TERMINATED,
            E.TERMINATE_IMMEDIATE: S.TERMINATED,
            E.PG_READY: S.TERMINATED,
            E.PG_LOST: S.TERMINATED,
            E.STOPPED: S.TERMINATED,
        },
    }
)

TERMINATING: Final = frozenset(
    {S.TERMINATION_PENDING_FAST, S.TERMINATION_PENDING_IMMEDIATE, S.TERMINATED}
)
RESTING: Final = frozenset({S.INIT, S.RUNNING, S.FAILED})
"""No attempt runs or waits."""


def next_status(status: Status, event: Event) -> Status:
    """Return where *event* leads from *status*.

    Raises:
        IllegalTransitionError: the table has no such row.
    """
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise IllegalTransitionError(status, event) from None


def home_event(*, ready: bool, in_force: bool, last_failed: bool) -> Event:
    """Return the event that leads home.

    *ready*: Postgres accepts connections. *in_force*: some generation was proven. *last_failed*:
    the last attempt did not end well.
    """
    if last_failed and not in_force:
        return Event.HOME_FAILED
    return Event.HOME_READY if ready else Event.HOME_NOT_READY
