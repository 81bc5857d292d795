"""Leases of a store that only one process can open: they end with it, so they are in memory."""

from __future__ import annotations

import time
from collections.abc import Callable


class Leases:
    """Who holds which lease, and until when."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._held: dict[str, tuple[str, float]] = {}
        """By name: the holder, and the end in monotonic seconds."""

    def hold(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Take or renew the lease *name*; return whether *holder* has it now."""
        now = self._monotonic()
        owner, until = self._held.get(name, (holder, now))
        if owner != holder and now < until:
            return False
        self._held[name] = (holder, now + ttl_s)
        return True

    def release(self, name: str, *, holder: str) -> None:
        """Give up the lease if *holder* has it."""
        if self._held.get(name, ("", 0.0))[0] == holder:
            del self._held[name]
