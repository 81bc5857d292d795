"""The log of requests, with a limit on what callers can make a listener log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from compute_common.http.api import A, ApiResponse, Route
from compute_common.http.listener import ListenerSpec
from compute_common.token_bucket import TokenBucket

PATH_SHOWN: Final = 200
"""Characters of a path that are logged."""

IsQuiet = Callable[[web.BaseRequest, Route[Any], str], bool]
"""Whether a request for a route at a listener is logged at DEBUG."""


def is_quiet(request: web.BaseRequest, route: Route[Any], listener: str) -> bool:
    """Return what the route says."""
    return route.quiet


@dataclass(kw_only=True)
class LogLimit(TokenBucket):
    """Limits the log lines of requests, so that a flood of them cannot fill the disk."""

    burst: int = 50
    per_second: float = 5.0
    left_out: int = 0
    """Requests not logged since the last `told`."""

    def take(self, now: float) -> bool:
        """Whether a request at *now* (monotonic seconds) may be logged; count it if not."""
        allowed = super().take(now)
        self.left_out += not allowed
        return allowed

    def told(self) -> int:
        """Return how many requests were not logged since the last call."""
        count, self.left_out = self.left_out, 0
        return count


def shown_path(path: str) -> str:
    """Return *path* for the log, cut where it is long."""
    return path if len(path) <= PATH_SHOWN else f"{path[:PATH_SHOWN]}... ({len(path)} characters)"


class RequestLog:
    """Logs the requests of one listener."""

    def __init__(
        self, *, program: str, listener: ListenerSpec, label: str, is_quiet: IsQuiet
    ) -> None:
        """*label*: how messages call the listener."""
        self._listener = listener
        self._label = label
        self._is_quiet = is_quiet
        self._limit = LogLimit()
        self.logger = logging.getLogger(f"{program}.http.pipeline")

    def begin(
        self, request: web.BaseRequest, found: Route[A] | ApiResponse, *, request_id: str, at: float
    ) -> LoggedRequest:
        """Log a request that came *at* monotonic seconds; *found*: what the router returned."""
        route = found if isinstance(found, Route) else None
        quiet = route is not None and self._is_quiet(request, route, self._listener.name)
        logged = LoggedRequest(
            log=self,
            what=f"{shown_path(request.path)} {request.method} request",
            extra={"request_id": request_id, "door": self._listener.name},
            begun=at,
            level=logging.INFO if not quiet and self.may_log(at) else logging.DEBUG,
            failure_counts=quiet and route is not None and not route.quiet,
        )
        self.logger.log(logged.level, "serving %s", logged.what, extra=logged.extra)
        return logged

    def may_log(self, now: float) -> bool:
        """Whether to log a request: anybody can reach a port, and must not fill the disk."""
        if self._listener.log_all:
            return True
        if not self._limit.take(now):
            return False
        if count := self._limit.told():
            self.logger.warning("%d requests at %s were not logged", count, self._label)
        return True


@dataclass(frozen=True, kw_only=True)
class LoggedRequest:
    """A request whose beginning has been logged."""

    log: RequestLog
    what: str
    extra: dict[str, object]
    begun: float
    """Monotonic seconds."""
    level: int
    failure_counts: bool
    """Whether its end is logged at INFO if it fails, though its beginning was logged at DEBUG."""

    def end(self, code: int, *, at: float) -> None:
        """Log that it was answered with *code*."""
        fails = code >= 400 and self.failure_counts and self.log.may_log(self.begun)
        self.log.logger.log(
            logging.INFO if fails else self.level,
            "answered %s with %d",
            self.what,
            code,
            extra={**self.extra, "code": code, "latency_ms": round((at - self.begun) * 1000, 3)},
        )
