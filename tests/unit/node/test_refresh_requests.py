"""Refresh requests: none is lost, and everybody gets the outcome of a later attempt."""

import asyncio

from compute_ctl.decisions.model import Outcome, RequestOrigin, Suspicion
from compute_ctl.node.refresh_requests import RefreshRequests


def add(
    requests: RefreshRequests, now: float = 0.0, source: RequestOrigin = RequestOrigin.OPERATOR
) -> int:
    """Add a request and return its number."""
    return requests.add(now, source=source, suspicion=None, force=False).refresh_id


async def test_a_request_during_an_attempt_waits_for_the_next() -> None:
    """An attempt that began before a request does not serve it."""
    requests = RefreshRequests()
    add(requests)
    requests.take()
    served = requests.taken
    late = add(requests)
    waiter = asyncio.ensure_future(requests.wait(late, 5.0))
    await asyncio.sleep(0)
    requests.end(served, Outcome.UNCHANGED)
    assert requests.pending

    requests.take()
    requests.end(requests.taken, Outcome.APPLIED)

    assert await waiter is Outcome.APPLIED


async def test_a_burst_is_one_attempt() -> None:
    """Requests before the fetch share it; all but the first are coalesced."""
    requests = RefreshRequests()
    tickets = [
        requests.add(0.0, source=RequestOrigin.WORKER, suspicion=None, force=False)
        for _ in range(5)
    ]
    waiters = [asyncio.ensure_future(requests.wait(t.refresh_id, 5.0)) for t in tickets]
    await asyncio.sleep(0)

    requests.take()
    requests.end(requests.taken, Outcome.FETCH_FAILED)

    assert [False, True, True, True, True] == [t.coalesced for t in tickets]
    assert [Outcome.FETCH_FAILED] * 5 == await asyncio.gather(*waiters)


async def test_patience_ends_before_the_attempt() -> None:
    """A caller who waits too short is told so."""
    requests = RefreshRequests()

    assert await requests.wait(add(requests), 0.01) is Outcome.TIMEOUT


async def test_the_end_of_the_compute_answers_everybody() -> None:
    """Nobody waits for an attempt that will not come."""
    requests = RefreshRequests()
    waiter = asyncio.ensure_future(requests.wait(add(requests), 5.0))
    await asyncio.sleep(0)

    requests.end_all(Outcome.TERMINATED)

    assert await waiter is Outcome.TERMINATED


def test_suspicion_lasts_for_thirty_seconds_after_the_last_complaint() -> None:
    """Complaints extend a suspicion, its age counts from the first."""
    requests = RefreshRequests()
    add(requests, 100.0, RequestOrigin.WORKER)
    add(requests, 120.0, RequestOrigin.WORKER)

    assert 100.0 == requests.suspected_since
    assert requests.suspected(149.9)
    assert not requests.suspected(150.0)


def test_a_complaint_after_quiet_begins_a_new_suspicion() -> None:
    """The age of the trouble starts anew."""
    requests = RefreshRequests()
    add(requests, 100.0, RequestOrigin.WORKER)
    add(requests, 200.0, RequestOrigin.WORKER)

    assert 200.0 == requests.suspected_since


def test_the_clock_does_not_complain() -> None:
    """A periodic look is no suspicion."""
    requests = RefreshRequests()
    add(requests, 1.0, RequestOrigin.CLOCK)

    assert requests.pending
    assert not requests.suspected(1.0)


def test_the_latest_suspicion_is_kept() -> None:
    """What the worker reported is shown, also after an operator's request."""
    requests = RefreshRequests()
    told = Suspicion(source="pageserver", shard=3, trouble="dead")
    requests.add(0.0, source=RequestOrigin.WORKER, suspicion=told, force=False)
    add(requests)

    assert requests.suspicion == told


def test_force_is_taken_once() -> None:
    """The attempt that takes a forced request is the forced one."""
    requests = RefreshRequests()
    requests.add(0.0, source=RequestOrigin.OPERATOR, suspicion=None, force=True)

    assert requests.take()
    assert not requests.take()
