"""The state machine: one literal table, (status, event) → status. Pure.

- All that may happen to the status stands in `TRANSITIONS`; only `node.status_machine` uses it. An
  event without a row raises and changes nothing.
- The spellings of `Status` are API (they are the reference's).
- How an attempt ends depends on circumstances; `settle_event` chooses among `settle_ready`,
  `settle_not_ready` and `settle_failed`, so that the table stays literal.
- A refresh or configure is accepted in every status but the terminating ones.
- While Postgres comes and goes, an attempt that runs or waits keeps its status. Whether Postgres
  accepts connections is shown beside the status, and `settle_event` takes it into account.
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
    PUSH_STARTED_OFFLINE = "push_started_offline"
    """Work on a pushed document begins; Postgres is yet to be started with it."""
    PUSH_STARTED_ONLINE = "push_started_online"
    """Work on a pushed document begins; Postgres runs."""
    REFRESH = "refresh"
    """Somebody asks for a fetch, or the periodic one is planned."""
    FETCH_STARTED = "fetch_started"
    """The planned fetch begins."""
    RETRY = "retry"
    """An attempt ended, and another one is needed."""
    SETTLE_READY = "settle_ready"
    SETTLE_NOT_READY = "settle_not_ready"
    SETTLE_FAILED = "settle_failed"
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
_SETTLE: Final = {
    E.SETTLE_READY: S.RUNNING,
    E.SETTLE_NOT_READY: S.INIT,
    E.SETTLE_FAILED: S.FAILED,
}
_ANYTIME: Final = {
    E.CONFIGURE: S.CONFIGURATION_PENDING,
    E.TERMINATE_FAST: S.TERMINATION_PENDING_FAST,
    E.TERMINATE_IMMEDIATE: S.TERMINATION_PENDING_IMMEDIATE,
    E.STOPPED: S.TERMINATED,
}
# While a pushed document waits for Postgres to start, the status may change to any of these before
# the push ends, so all of them accept its end.
_RESTING: Final = (
    _ANYTIME
    | _SETTLE
    | {
        E.REFRESH: S.REFRESH_CONFIGURATION_PENDING,
        E.RETRY: S.REFRESH_CONFIGURATION_PENDING,
        E.ATTEMPT_FAILED: S.FAILED,
    }
)
_ATTEMPT: Final = (
    _ANYTIME
    | _SETTLE
    | {E.RETRY: S.REFRESH_CONFIGURATION_PENDING, E.ATTEMPT_FAILED: S.FAILED, E.DETACHED: S.EMPTY}
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
            E.PUSH_STARTED_OFFLINE: S.INIT,
            E.PUSH_STARTED_ONLINE: S.CONFIGURATION,
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
            E.FETCH_STARTED: S.REFRESH_CONFIGURATION,
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


def settle_event(*, ready: bool, in_force: bool, last_failed: bool) -> Event:
    """Return the event that ends an attempt.

    *ready*: Postgres accepts connections. *in_force*: some generation was proven. *last_failed*:
    the last attempt did not end well.
    """
    if last_failed and not in_force:
        return Event.SETTLE_FAILED
    return Event.SETTLE_READY if ready else Event.SETTLE_NOT_READY
