"""What must hold of the starts of a server that does not come up."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from compute_ctl.document.body import split_body
from compute_ctl.document.generation import LiveFile

if TYPE_CHECKING:
    from tests.simulation.world import World

WINDOW_S = 10.0
MAX_STARTS = 120
"""In a window: each kept generation once or twice, and again for a push or an operator."""


class Starts:
    """The starts of one server, and the way back through the kept generations."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._times: deque[float] = deque()
        self._tried: list[str] = []
        """Bodies that it was started with since it last came up, or since anybody helped."""
        self._marker = ""
        """Of the last file that a document asks for, which no fallback replaces."""
        self._old_servers = False
        """It was started with other servers than those of the newest document."""

    def begins(self, text: str) -> None:
        """Check the start of a server with *text*."""
        now = self._world.loop.now
        self._times.append(now)
        while self._times[0] < now - WINDOW_S:
            self._times.popleft()
        if len(self._times) > MAX_STARTS:
            self._world.fail(f"{len(self._times)} starts within {WINDOW_S:g} s")
        if self._world.supervised and LiveFile.parse(text).intact:
            self._check_way_back(LiveFile.parse(text))

    def _check_way_back(self, live: LiveFile) -> None:
        """Check that each body is tried once, the newest servers with the rest of each.

        Only the last try may have other servers: those that a server came up with.
        """
        daemon = self._world.daemon
        written = daemon.node.config.written if daemon is not None else None
        if written is None or daemon is None or written.marker != live.marker:
            return self.helped()  # somebody has exchanged the file
        if not written.is_fallback and str(live.marker) != self._marker:
            self.helped()
            self._marker = str(live.marker)
        if live.body in self._tried:
            self._world.fail("started again with what did not start, and nothing has changed")
        if self._old_servers:
            self._world.fail("started again after the last generation that had come up")
        if self._tried:
            rest, servers = split_body(live.body)
            self._old_servers = servers != split_body(self._tried[0])[1]
            started = daemon.node.config.state.started
            text = self._world.invariants.texts.get(started.marker, "") if started else ""
            if self._old_servers and split_body(text)[0] != rest:
                self._world.fail("started with old servers and settings that never came up")
        self._tried.append(live.body)
        return None

    def helped(self) -> None:
        """It has come up, or something has changed: all may be tried again."""
        self._tried.clear()
        self._old_servers = False
