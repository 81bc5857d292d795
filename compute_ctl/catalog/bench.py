"""Where the keeper's blocking work is done: one piece at a time, each given up at its deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from compute_ctl.errors import CatalogError
from compute_ctl.system.daemon_thread import in_thread

T = TypeVar("T")


class Bench:
    """Room for one thread. What hangs in it keeps the next piece out, not the daemon up."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()

    async def run(self, work: Callable[[], T], *, name: str, within_s: float) -> T:
        """Return the result of *work*, or raise what it raises.

        Raises:
            CatalogError: it has not ended within *within_s*, or an earlier one has not yet.
        """
        if not self._free.is_set():
            raise CatalogError("an earlier run has not ended yet")
        self._free.clear()

        def there() -> T:
            try:
                return work()
            finally:
                self._free.set()

        try:
            return await in_thread(there, name=name, within_s=within_s)
        except TimeoutError:
            raise CatalogError(f"it has not ended within {within_s:g} s") from None
