"""Leases are renewed, asked for again, and follow a move, in virtual time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from compute_ctl.decisions.lsn_lease import LeaseRequest, LeaseStatus
from compute_ctl.errors import LeaseRefusedError, ProbeError
from compute_ctl.monitoring.lsn_leases import LsnLeases
from devstack.virtual_loop import START, VirtualLoop
from tests.support.clock import DATE
from tests.unit.decisions.test_lsn_lease import body
from tests.unit.monitoring.test_observers import ATTEMPT


class Run:
    """Leases of a compute whose pageservers answer as *answer* says."""

    def __init__(self, answer: Callable[[str, float], datetime]) -> None:
        """*answer* is given the server and the seconds so far."""
        self._answer = answer
        self._loop = VirtualLoop()
        self.body = body("host=a")
        self.asked: list[tuple[str, int]] = []
        self.shown: list[LeaseStatus | None] = []
        self.leases = LsnLeases(
            body=lambda: self.body,
            on_status=self.shown.append,
            grant=self._grant,
            clock=self,
            jitter=lambda: 1.0,
        )

    def monotonic(self) -> float:
        """Return virtual seconds."""
        return self._loop.now

    def wall(self) -> datetime:
        """Return the virtual time of day."""
        return DATE + timedelta(seconds=self._loop.now - START)

    def _grant(self, request: LeaseRequest, within_s: float) -> datetime:
        self.asked.append((request.server, round(self._loop.now - START)))
        return self._answer(request.server, self._loop.now - START)

    def for_seconds(self, seconds: float) -> None:
        """Run so long, in one piece."""

        async def bounded() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.leases.run()

        self._loop.run_until_complete(bounded())
        self._loop.close()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something in the middle of the run."""
        self._loop.call_later(seconds, do)


def lasting(seconds: float) -> Callable[[str, float], datetime]:
    """Grant every lease for so long."""
    return lambda _, now: DATE + timedelta(seconds=round(now) + seconds)


def test_renewed_before_its_end() -> None:
    """Leases of ten minutes are renewed every nine."""
    run = Run(lasting(600))
    run.for_seconds(1200)
    assert [("host=a", 0), ("host=a", 540), ("host=a", 1080)] == run.asked
    assert run.shown[-1] is not None
    assert (DATE + timedelta(seconds=1680), None) == (
        run.shown[-1].valid_until,
        run.shown[-1].error,
    )


def test_a_clock_that_is_ahead_does_not_make_it_ask_without_pause() -> None:
    """Every lease seems over as soon as it is granted."""
    run = Run(lasting(-3600))
    run.for_seconds(60)
    assert 12 == len(run.asked)


def test_the_new_pageserver_is_asked_at_once_after_a_move() -> None:
    """And the old one no more, even if it has not answered."""

    def answer(server: str, now: float) -> datetime:
        if server == "host=a":
            raise ProbeError("pageserver a did not answer in time")
        return lasting(600)(server, now)

    def move() -> None:
        run.body = body("host=b")
        run.leases.on_attempt(ATTEMPT)

    run = Run(answer)
    run.after(10, move)
    run.for_seconds(100)
    assert [("host=a", 0), ("host=a", 1), ("host=a", 3), ("host=a", 7), ("host=b", 10)] == run.asked
    assert run.shown[-1] == LeaseStatus(lsn="0/1F00", valid_until=DATE + timedelta(seconds=610))


def test_a_refused_lease_is_shown_and_asked_for_every_minute() -> None:
    """The lease of the other shard is renewed as ever."""

    def answer(server: str, now: float) -> datetime:
        if server == "host=a":
            raise LeaseRefusedError("pageserver a refuses")
        return lasting(600)(server, now)

    run = Run(answer)
    run.body = body("host=a,host=b")
    run.for_seconds(130)
    assert [0, 60, 120] == [at for server, at in run.asked if server == "host=a"]
    assert [0] == [at for server, at in run.asked if server == "host=b"]
    assert run.shown[-1] == LeaseStatus(lsn="0/1F00", error="pageserver a refuses")


def test_all_pageservers_of_a_shard_keep_the_pages() -> None:
    """The end shown is of the one in use; one that gives no lease is said all the same."""

    def answer(server: str, now: float) -> datetime:
        if server == "host=b":
            raise ProbeError("pageserver b did not answer in time")
        return lasting(600 if server == "host=a" else 60)(server, now)

    run = Run(answer)
    run.body = body("host=a", named="host=a,host=b,host=c")
    run.for_seconds(0.5)
    assert [("host=a", 0), ("host=b", 0), ("host=c", 0)] == sorted(run.asked)
    assert run.shown[-1] == LeaseStatus(
        lsn="0/1F00",
        valid_until=DATE + timedelta(seconds=600),
        error="pageserver b did not answer in time",
    )


def test_nothing_is_asked_for_a_compute_that_is_not_static() -> None:
    """Such a compute shows no lease, either."""
    run = Run(lasting(600))
    run.body = body("host=a", mode="primary")
    run.for_seconds(100)
    assert ([], None) == (run.asked, run.shown[-1])
