"""When the reconciler fetches: what has happened with the source, as facts for `pacing`."""

from __future__ import annotations

import random
from math import inf
from typing import Final

from compute_common.errors import SyntaxSpecError
from compute_ctl.decisions import pacing
from compute_ctl.decisions.proof import Proof
from compute_ctl.errors import FetchError
from compute_ctl.node import Node
from compute_ctl.node.config_state import DISK
from compute_ctl.ports import Clock
from compute_ctl.settings import Settings

HALF_PROVEN_S: Final = 5.0
"""Pause before SQL is asked again where it did not answer."""


class Schedule:
    """The calendar of one reconciler; all times are monotonic seconds."""

    def __init__(self, *, node: Node, clock: Clock, settings: Settings, rng: random.Random) -> None:
        self._node = node
        self._clock = clock
        self._settings = settings
        self._rng = rng
        self._failures = 0
        self._lasting = False
        self._answered = False
        """Ever, since this daemon began."""
        self._retry_after_until: float | None = None
        self._empty_since: float | None = None
        self._last_fetch_at: float | None = None
        self._last_end_at: float | None = None
        self._random = 0.0
        self._next_tick = pacing.first_tick_at(
            clock.monotonic(), settings.reconcile_interval, rng.random()
        )

    # What is due

    def due(self, now: float, *, held: bool) -> pacing.Due:
        """Return when the next fetch shall begin, and why.

        *held*: the source holds a long poll of ours, as far as we know.
        """
        requests = self._node.requests
        suspected = requests.suspected(now)
        # A complaint that came during the attempt which ended the trouble: look once more.
        orphaned = requests.pending and not suspected
        return pacing.Pacing(
            random=self._random,
            min_interval=self._settings.refresh_min_interval,
            next_tick_at=self._next_look(),
            last_fetch_at=self._last_fetch_at,
            last_end_at=self._last_end_at,
            suspected_since=requests.suspected_since if suspected else None,
            last_signal_at=requests.last_signal if suspected else None,
            operator_at=now if orphaned else requests.asked_at,
            forced_at=requests.forced_at,
            held=held,
            failures=self._failures,
            lasting=self._lasting,
            nothing_in_force=self._node.config.written is None,
            unheard=self._unheard,
            retry_after_until=self._retry_after_until,
        ).due()

    def _next_look(self) -> float:
        """Return when to look unprompted: sooner than usual where something is in doubt."""
        look = self._next_tick
        ended = -inf if self._last_end_at is None else self._last_end_at
        if self._empty_since is not None:
            confirm = self._empty_since + self._settings.deadlines.empty_grace
            look = min(look, max(confirm, ended + pacing.failure_cap(self._failures)))
        if self._half_proven:
            look = min(look, ended + HALF_PROVEN_S)
        return look

    @property
    def _half_proven(self) -> bool:
        """Whether Postgres has acknowledged, but SQL could not tell whether all is well."""
        node, verdict = self._node, self._node.config.verdict
        doubt = verdict is None or verdict.proof is not Proof.FULL or node.server.login_refused
        return node.config.proven and bool(doubt)

    @property
    def _unheard(self) -> bool:
        """Whether neither the source nor a push has told anything since the daemon began."""
        desired = self._node.config.desired
        return not self._answered and (desired is None or desired.source == DISK)

    def wanted(self, now: float) -> bool:
        """Whether there is reason to fetch before the next periodic look."""
        requests = self._node.requests
        return requests.pending or requests.suspected(now) or self._empty_since is not None

    def left_alone(self) -> float:
        """Return for how many more seconds the source wants not to be asked."""
        now = self._clock.monotonic()
        return max(0.0, (self._retry_after_until or now) - now)

    def calm(self) -> bool:
        """Whether nobody suspects anything."""
        return not self._node.requests.suspected(self._clock.monotonic())

    def retry_s(self, error: FetchError, failures: int) -> float:
        """Return the pause before a long poll that nobody waits for, after *failures* in a row."""
        return max(
            pacing.failure_cap(failures) * (1.0 + self._rng.random()) / 2,
            (error.retry_after_s or 0.0) * (1.0 + self._rng.random() / 2),
        )

    def quiet_at(self, now: float) -> float:
        """Return when the present suspicion ends if nobody complains any more."""
        requests = self._node.requests
        if requests.last_signal is None or not requests.suspected(now):
            return inf
        return pacing.suspicion_over_at(requests.last_signal)

    # What has happened

    def fetching(self, now: float, why: pacing.Why) -> None:
        """A fetch begins."""
        self._last_fetch_at = now
        if why is pacing.Why.TICK:
            self._next_tick = now + self._settings.reconcile_interval

    def answered(self, *, to_long_poll: bool) -> None:
        """The source has answered.

        That ends the pause it asked for, unless it answered a long poll: none begins during a
        pause, so the source held this one before it asked. A fetch that is answered began after.
        """
        if not to_long_poll:
            self._retry_after_until = None
        self._answered = True
        self._failures, self._lasting = 0, False

    def attached(self) -> None:
        """There is a document for us."""
        self._empty_since = None

    def empty(self, now: float) -> bool:
        """It said that there is none; return whether that has now been confirmed."""
        if self._empty_since is None:
            self._empty_since = now
        return now - self._empty_since >= self._settings.deadlines.empty_grace

    def failed(self, error: FetchError | SyntaxSpecError) -> None:
        """It has not answered, or with nonsense."""
        self._failures += 1
        self._lasting = isinstance(error, FetchError) and error.lasting
        if isinstance(error, FetchError) and error.retry_after_s is not None:
            until = pacing.retry_after_until(
                self._clock.monotonic(), error.retry_after_s, self._rng.random()
            )
            # A long poll that ended beside this fetch may have been asked for more.
            self._retry_after_until = max(until, self._retry_after_until or until)

    def attempted(self, now: float) -> None:
        """An attempt has ended, whatever became of it."""
        self._last_end_at, self._random = now, self._rng.random()
