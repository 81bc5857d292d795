"""Detects an event loop that hangs, and notifies systemd while it runs.

A thread of its own, since what hangs cannot notice. It asks the loop for a sign of life; without
one within `blocked_after_s` it logs where the loop's thread stands, once for each time, and counts.
systemd's watchdog is fed only with a fresh sign of life, so it restarts a daemon that hangs.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from compute_common.system.sd_notify import WATCHDOG, Notifier

_log = logging.getLogger(__name__)

BLOCKED_AFTER_S: Final = 1.0
CLOSE_TIMEOUT_S: Final = 2.0


def _count_nothing(_seconds: float) -> None:
    pass


class Watchdog:
    """Watches the loop in which `start` was called, until `close`."""

    def __init__(
        self,
        notifier: Notifier,
        *,
        blocked_after_s: float = BLOCKED_AFTER_S,
        on_blocked: Callable[[float], None] = _count_nothing,
    ) -> None:
        """*on_blocked* gets the seconds of each block when it ends, in the watchdog's thread."""
        self._notifier = notifier
        self._blocked_after_s = blocked_after_s
        self._on_blocked = on_blocked
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start; call it in the loop's thread."""
        self._thread = threading.Thread(
            target=self._run,
            args=(asyncio.get_running_loop(), threading.get_ident()),
            name="watchdog",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Stop; waits at most two seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        period = self._blocked_after_s
        if self._notifier.watchdog_s is not None:
            period = min(period, self._notifier.watchdog_s / 2)
        while not self._stop.wait(period):
            alive = threading.Event()
            asked_at = time.monotonic()
            try:
                loop.call_soon_threadsafe(alive.set)
            except RuntimeError:
                return  # the loop is closed
            if not alive.wait(self._blocked_after_s):
                _log.error(
                    "the event loop has been blocked for %.1f s at:\n%s",
                    time.monotonic() - asked_at,
                    _stack(loop_thread),
                )
                while not alive.wait(period):
                    if self._stop.is_set() or loop.is_closed():
                        return
                self._on_blocked(time.monotonic() - asked_at)
            self._notifier.send(WATCHDOG)


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)  # noqa: SLF001 (the documented way to a stack)
    return "".join(traceback.format_stack(frame)) if frame is not None else "unknown"
