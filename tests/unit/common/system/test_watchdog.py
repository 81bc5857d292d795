"""An event loop that hangs is noticed, one that works is reported."""

import asyncio
import logging
import queue
import socket
import threading
from pathlib import Path

import pytest

from compute_common.system.sd_notify import Notifier
from compute_common.system.watchdog import Watchdog


class Announcer(logging.Handler):
    """Sets an event when something is logged."""

    def __init__(self, logged: threading.Event) -> None:
        super().__init__()
        self._logged = logged

    def emit(self, record: logging.LogRecord) -> None:
        """Announce *record*."""
        self._logged.set()


async def test_blocked_loop_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """While the loop hangs the place is logged; when it goes on the time is told."""
    told: queue.SimpleQueue[float] = queue.SimpleQueue()
    logged = threading.Event()
    handler = Announcer(logged)
    logger = logging.getLogger("compute_common.system.watchdog")
    logger.addHandler(handler)
    watchdog = Watchdog(Notifier(), blocked_after_s=0.05, on_blocked=told.put)
    watchdog.start()

    def hang_here() -> None:
        assert logged.wait(5)

    try:
        hang_here()
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(told.get, timeout=5) >= 0.05
    finally:
        watchdog.close()
        logger.removeHandler(handler)
    assert "hang_here" in caplog.text


async def test_systemd_is_fed_while_the_loop_works(tmp_path: Path) -> None:
    """Signs of life come at least twice in the time that systemd allows."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(0.2)
        watchdog = Watchdog(Notifier(str(tmp_path / "notify"), watchdog_s=0.2))
        watchdog.start()
        try:
            for _ in range(3):
                assert b"WATCHDOG=1" == await asyncio.to_thread(systemd.recv, 100)
        finally:
            watchdog.close()
