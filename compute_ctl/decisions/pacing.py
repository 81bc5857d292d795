"""When the daemon asks its source again. Pure: time and randomness are arguments.

The first signal after quiet is answered at once, so that a heal takes milliseconds. While the
trouble lasts, the pause before the next fetch is random, up to a quarter of the trouble's age: the
fetches of a fleet spread out and become rarer, and a publication that comes late is still seen
after a fraction of its delay. The pause after failures doubles. Retry-After is honoured except for
a forced request.

Times are seconds of one monotonic clock; random numbers are uniform in [0, 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import Final

SUSPICION_LASTS_S: Final = 30.0
"""After the last signal."""
LONG_POLL_MIN_S: Final = 20
LONG_POLL_MAX_S: Final = 30
RETRY_AFTER_MAX_S: Final = 60.0
_SUSPECT_CAP_S: Final = (0.05, 5.0)
_SUSPECT_AGE_SHARE: Final = 0.25
_FAILURE_CAP_S: Final = (0.1, 5.0)
BESIDE_LONG_POLL_S: Final = (5.0, 10.0)
"""Pause between fetches beside a long poll, which may be dead without an error."""


class Why(StrEnum):
    """What the next fetch is for."""

    FORCED = "forced"
    OPERATOR = "operator"
    FIRST_SIGNAL = "first_signal"
    SUSPICION = "suspicion"
    NOTHING_IN_FORCE = "nothing_in_force"
    START = "start"
    TICK = "tick"


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """The next fetch."""

    at: float
    """Seconds of the caller's clock; a time in the past, even -inf, means now."""
    why: Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Pacing:
    """What decides when the next fetch is due; equal values give equal times.

    Times are None for "never" or "nobody".
    """

    random: float
    """Drawn once for each fetch."""
    min_interval: float
    """Between the starts of two fetches, at least."""
    next_tick_at: float = inf
    """The periodic fetch."""
    last_fetch_at: float | None = None
    """When the last fetch began."""
    last_end_at: float | None = None
    """When the last attempt ended, with any outcome."""
    suspected_since: float | None = None
    """The first signal of the present trouble."""
    last_signal_at: float | None = None
    """The last one; it extends the suspicion."""
    operator_at: float | None = None
    """An operator's request that no fetch has taken."""
    forced_at: float | None = None
    """The same with force, which ignores Retry-After."""
    held: bool = False
    """A long poll is open, so the source reports a change by itself."""
    failures: int = 0
    """Fetches that the source failed to answer, in a row."""
    lasting: bool = False
    """The last answer was a refusal that will not change soon."""
    nothing_in_force: bool = False
    """Postgres has no configuration yet: go on asking without any suspicion."""
    unheard: bool = False
    """The source has not answered this daemon yet, and the state may be days old: go on asking."""
    retry_after_until: float | None = None
    """No fetch before this time; from the function of that name."""

    def due(self) -> Due:
        """Return when the next fetch is due, and why."""
        patient = min(self._reasons_to_fetch(), key=lambda reason: reason.at)
        if self.retry_after_until is not None:
            patient = replace(patient, at=max(patient.at, self.retry_after_until))
        reasons = [patient]
        if self.forced_at is not None:
            reasons.append(Due(at=self.forced_at, why=Why.FORCED))
        due = min(reasons, key=lambda reason: reason.at)
        if self.last_fetch_at is None:
            return due
        return replace(due, at=max(due.at, self.last_fetch_at + self.min_interval))

    def _reasons_to_fetch(self) -> Iterator[Due]:
        yield Due(at=self.next_tick_at, why=Why.TICK)
        if self.operator_at is not None:
            yield Due(at=self.operator_at, why=Why.OPERATOR)
        begun, ended = self.last_fetch_at, self.last_end_at
        base = begun if ended is None else ended
        if self.nothing_in_force:
            cap = failure_cap(self.failures) if self.failures else _FAILURE_CAP_S[1]
            at = -inf if base is None else base + self._pause(cap)
            yield Due(at=at, why=Why.NOTHING_IN_FORCE)
        if self.suspected_since is None:
            if self.unheard and self.failures and base is not None:
                yield Due(at=base + self._pause(failure_cap(self.failures)), why=Why.START)
            return
        if begun is None or base is None or begun < self.suspected_since:
            yield Due(at=self.suspected_since, why=Why.FIRST_SIGNAL)
            return
        low, cap = 0.0, max(suspect_cap(base - self.suspected_since), failure_cap(self.failures))
        if self.held:
            low, cap = BESIDE_LONG_POLL_S
        at = base + self._pause(cap, low)
        if self.last_signal_at is None or at < suspicion_over_at(self.last_signal_at):
            yield Due(at=at, why=Why.SUSPICION)

    def _pause(self, cap: float, low: float = 0.0) -> float:
        """Return a random pause of *low* to *cap* seconds; a long one after a lasting refusal."""
        if self.lasting:
            low, cap = _FAILURE_CAP_S[1] / 2, _FAILURE_CAP_S[1]
        return low + self.random * (cap - low)


def suspect_cap(age: float) -> float:
    """Return the longest pause while a suspicion of *age* seconds lasts."""
    low, high = _SUSPECT_CAP_S
    return min(max(age * _SUSPECT_AGE_SHARE, low), high)


def failure_cap(failures: int) -> float:
    """Return the longest pause after so many failures in a row: doubles, 0 for none."""
    low, high = _FAILURE_CAP_S
    return min(low * 2.0 ** min(failures - 1, 16), high) if failures > 0 else 0.0


def retry_after_until(now: float, retry_after_s: float, random: float) -> float:
    """Return when a source may be asked again that answered Retry-After at *now*.

    Up to a minute is honoured. A random part of half of it is added, so that clients that were
    refused together do not return together.
    """
    asked = min(max(retry_after_s, 0.0), RETRY_AFTER_MAX_S)
    return now + asked + random * max(1.0, asked / 2)


def suspicion_over_at(last_signal_at: float) -> float:
    """Return when a suspicion ends by itself."""
    return last_signal_at + SUSPICION_LASTS_S


def first_tick_at(now: float, interval: float, random: float) -> float:
    """Return the time of the first periodic fetch, spread over a fleet."""
    return now + random * interval


def long_poll_wait_s(random: float) -> int:
    """Return for how many whole seconds a server may hold a long poll."""
    return LONG_POLL_MIN_S + int(random * (LONG_POLL_MAX_S - LONG_POLL_MIN_S + 1))


def long_poll_reopen_s(random: float) -> float:
    """Return the pause before a lost long poll is opened again."""
    return random
