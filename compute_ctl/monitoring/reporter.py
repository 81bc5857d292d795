"""Reports to a control plane that has asked for it: soon after each change, and every minute.

A report never delays a fetch, and one that fails needs no retry: the next one replaces it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from compute_ctl.decisions.model import AckAnswer, Attempt, ReportStatus, RequestOrigin
from compute_ctl.decisions.report import Report, report_of
from compute_ctl.decisions.transitions import Status
from compute_ctl.errors import FetchError
from compute_ctl.node import Node
from compute_ctl.node.observer import Observer
from compute_ctl.ports import Clock, ReportReceiver

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0
"""From one report to the next while nothing changes."""
PAUSE_S: Final = 0.1
"""Between two reports at least."""
SETTLE_S: Final = 0.005
"""From a change to its report: the fetch goes out first."""
LOOK_S: Final = 1.0
"""Between two checks for a change that causes no event, such as the end of a suspicion."""
RETRY_MAX_S: Final = 30.0
"""The longest pause after reports that were not taken."""


@dataclass(kw_only=True, eq=False)
class Reporter(Observer):
    """Tells the control plane what the node knows; `run` is its task."""

    node: Node
    receiver: ReportReceiver
    clock: Clock
    version: str
    """The daemon's."""
    jitter: Callable[[], float]
    """Returns a random number from 0 to 1."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _accepted: Report | None = None
    _accepted_at: float = 0.0
    """Monotonic seconds."""
    _failures: int = 0
    _status: ReportStatus = field(default_factory=ReportStatus)

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Check for something to report."""
        self._changed.set()

    def on_attempt(self, attempt: Attempt) -> None:
        """Check for something to report."""
        self._changed.set()

    def on_refresh_request(self, source: RequestOrigin) -> None:
        """Check for something to report."""
        self._changed.set()

    def on_ack(self, answer: AckAnswer) -> None:
        """Check for something to report."""
        self._changed.set()

    async def run(self) -> None:
        """Send reports until cancelled."""
        while True:
            await self._wait(LOOK_S)
            if not self.receiver.wants_reports:
                continue
            await asyncio.sleep(SETTLE_S)
            config = self.node.config
            refused = config.refused_servers.in_force(config.written)
            report = report_of(
                self.node.snapshot(),
                self.node.suspicions(),
                version=self.version,
                servers=(refused.version, refused.content_sha256) if refused else None,
            )
            if not (report.says_more_than(self._accepted) or self._due):
                continue
            await self._send(report)
            await asyncio.sleep(self._pause)

    async def _wait(self, within_s: float) -> None:
        """Wait until something may have changed, but no longer than that."""
        try:
            await asyncio.wait_for(self._changed.wait(), within_s)
        except TimeoutError:
            return
        self._changed.clear()

    @property
    def _due(self) -> bool:
        if self.receiver.report_missing:
            return True
        return self.clock.monotonic() - self._accepted_at >= INTERVAL_S

    @property
    def _pause(self) -> float:
        """Seconds until the next report may go out; longer the more have failed in a row."""
        if not self._failures:
            return PAUSE_S
        longest = min(PAUSE_S * 2.0**self._failures, RETRY_MAX_S)
        return longest * (1.0 + self.jitter()) / 2

    async def _send(self, report: Report) -> None:
        try:
            await self.receiver.report(msgspec.json.encode(report))
        except FetchError as error:
            self._failures = min(self._failures + 1, 16)
            if self._failures == 1:
                logger.info("%s", error)
            self._status = msgspec.structs.replace(self._status, error=str(error))
            self.node.reported(self._status)
            return
        self._failures = 0
        self._accepted, self._accepted_at = report, self.clock.monotonic()
        self._status = ReportStatus(
            accepted_at=self.clock.wall(),
            desired_sha256=report.desired.hash if report.desired else None,
            applied_sha256=report.applied.hash if report.applied else None,
        )
        self.node.reported(self._status)
