"""The time that one application may take in all; its steps share it.

Each step has a deadline of its own. A disk that answers each of them just in time must not add them
up, so a step gets no more than what is left of the whole.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

STEP_MIN_S: Final = 0.1
"""For each step after the end of the whole: what can be done is done, such as saving the state."""

_END: Final[ContextVar[float]] = ContextVar("end of the application", default=math.inf)
"""In the time of the event loop. Of the present task: others are not hurried."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Give what is awaited inside so much time in all, instead of what was left outside."""
    token = _END.set(asyncio.get_running_loop().time() + seconds)
    try:
        yield
    finally:
        _END.reset(token)


def share(seconds: float) -> float:
    """Return how long a step may take that has a deadline of *seconds* by itself."""
    left = _END.get() - asyncio.get_running_loop().time()
    return min(seconds, max(left, STEP_MIN_S))
