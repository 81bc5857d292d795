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
"""For a step that begins after the time is used up, so that the state is still saved."""

_END: Final[ContextVar[float]] = ContextVar("end of the application", default=math.inf)
"""In the time of the event loop; each task has a value of its own."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Limit what is awaited in the block to *seconds* in all; replaces a limit around it."""
    token = _END.set(asyncio.get_running_loop().time() + seconds)
    try:
        yield
    finally:
        _END.reset(token)


def share(seconds: float) -> float:
    """Return the deadline of a step: *seconds*, or what is left of the whole if that is less."""
    left = _END.get() - asyncio.get_running_loop().time()
    return min(seconds, max(left, STEP_MIN_S))
