"""Bounded waiting for something to become true: the only place in the tests that sleeps."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.005


def wait_until(what: str, predicate: Callable[[], T], timeout: float = 10.0) -> T:
    """Return the first true value of *predicate*, asked every few milliseconds.

    Raises ``AssertionError`` naming *what* and the last value after *timeout* seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last value: {value!r})")
        time.sleep(POLL_SECONDS)


async def until(what: str, predicate: Callable[[], T], timeout: float = 10.0) -> T:  # noqa: ASYNC109 -- a bound with a text
    """Do the same while the loop, which what is awaited runs on, goes on."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last value: {value!r})")
        await asyncio.sleep(POLL_SECONDS)
    return value
