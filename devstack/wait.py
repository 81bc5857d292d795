"""Bounded waiting for something to become true: the only place in the tests that sleeps."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT_S = 30.0
"""For what takes a moment: generous, since the machine may be busy with much else."""
POLL_SECONDS = 0.005
LONGEST_POLL_SECONDS = 0.05
POLLS_PER_WAIT = 10
"""A pause grows with the wait: each question costs CPU time, often a new session of a server."""


def pause(waited: float) -> float:
    """Return how many seconds to pause before the next question, after *waited* seconds."""
    return min(max(POLL_SECONDS, waited / POLLS_PER_WAIT), LONGEST_POLL_SECONDS)


def wait_until(what: str, predicate: Callable[[], T], timeout: float = TIMEOUT_S) -> T:
    """Return the first true value of *predicate*, asked every few milliseconds.

    Raises ``AssertionError`` naming *what* and the last value after *timeout* seconds.
    """
    begun = time.monotonic()
    while True:
        value = predicate()
        if value:
            return value
        waited = time.monotonic() - begun
        if waited >= timeout:
            raise AssertionError(f"not within {timeout:g} s: {what} (last value: {value!r})")
        time.sleep(pause(waited))


async def until(what: str, predicate: Callable[[], T], timeout: float = TIMEOUT_S) -> T:  # noqa: ASYNC109 -- a bound with a text
    """Do the same as a coroutine: the event loop goes on between two questions."""
    begun = time.monotonic()
    while not (value := predicate()):
        waited = time.monotonic() - begun
        if waited >= timeout:
            raise AssertionError(f"not within {timeout:g} s: {what} (last value: {value!r})")
        await asyncio.sleep(pause(waited))
    return value
