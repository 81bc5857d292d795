"""Requests that are held open: long polls and hooks. Each costs a task, and no thread."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from compute_common.errors import RequestError

CLOSING: Final = "the control plane is stopping"
RETRY_AFTER_S: Final = (1, 5)
"""Least and most; spread, so that callers who were turned away together do not return together."""


def unavailable(message: str) -> RequestError:
    """Return the error that a request cannot be served now: 503 with a Retry-After."""
    pause_s = random.randint(*RETRY_AFTER_S)  # noqa: S311 -- spreads load only
    return RequestError(503, message, retry_after_s=pause_s)


class Holds:
    """The requests held at one place, at most *limit*."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.refused = 0
        """Requests turned away, since there was no room."""

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Count the current request as held while the block runs.

        Raises:
            RequestError: 503, there is no room, or `close` was called, perhaps meanwhile.
        """
        if self._closed:
            raise unavailable(CLOSING)
        if len(self._tasks) >= self._limit:
            self.refused += 1
            raise unavailable("too many requests are held already")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- narrows the type: a request has a task
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._closed:
                raise  # the caller has hung up
            task.uncancel()
            raise unavailable(CLOSING) from None
        finally:
            self._tasks.discard(task)

    def close(self) -> None:
        """Answer all held requests with 503, and hold none any more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
