"""Notifications to systemd (sd_notify(3)): one datagram each, none without NOTIFY_SOCKET. A leaf.

`from_environment` removes the variables, so that no child process notifies in place of the daemon.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"


class Notifier:
    """A sender of notifications; never blocks, never raises."""

    def __init__(self, address: str = "", *, watchdog_s: float | None = None) -> None:
        """*address* is NOTIFY_SOCKET, empty for none; *watchdog_s* the interval systemd expects."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls) -> Notifier:
        """Make one from NOTIFY_SOCKET and WATCHDOG_USEC, and remove both."""
        address = os.environ.pop("NOTIFY_SOCKET", "")
        microseconds = os.environ.pop("WATCHDOG_USEC", "")
        for_pid = os.environ.pop("WATCHDOG_PID", "")
        watchdog_s = None
        if microseconds.isdecimal() and int(microseconds) and for_pid in ("", str(os.getpid())):
            watchdog_s = int(microseconds) / 1e6
        return cls(address, watchdog_s=watchdog_s)

    def send(self, *assignments: str) -> bool:
        """Send assignments such as `READY`; return whether they were sent."""
        if not self._address:
            return False
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto("\n".join(assignments).encode(), self._address)
            return True
        return False

    def reloading(self) -> bool:
        """Announce a reload; Type=notify-reload requires its time."""
        return self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, text: str) -> bool:
        """Set the text in `systemctl status`."""
        return self.send(f"STATUS={' '.join(text.split())}")
