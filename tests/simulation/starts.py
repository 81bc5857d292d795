"""What must hold of the starts of a server that does not come up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compute_common.document.document import Document
from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import GOOD_OUTCOMES, PUSH
from compute_ctl.document.body import split_body
from compute_ctl.document.generation import LiveFile
from compute_ctl.reconciler.applier import Applier
from tests.simulation.disk import GENERATIONS

if TYPE_CHECKING:
    from tests.simulation.invariants import Invariants
    from tests.simulation.world import World

AROUND = 2
"""Starts beside those with kept generations: the first that fails, and the last that had come up,
with its own servers."""


class Starts:
    """The starts of one server, and the way back through the kept generations."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = 0
        """Since it last came up, or anybody helped."""
        self._tried: list[str] = []
        """Bodies that it was started with since it last came up, or since anybody helped."""
        self.applying = False
        """A document is being applied: what is written now is no step of the way back."""
        self._old_servers = False
        """It was started with other servers than those of the newest document."""

    def begins(self, text: str) -> None:
        """Check the start of a server with *text*."""
        if not self._world.supervised:
            return  # whoever starts it does so again and again
        kept = sum(name.startswith(GENERATIONS) for name in self._world.disk.files) // 2
        self._count += 1
        if self._count > kept + AROUND:
            self._world.fail(f"{self._count} starts, and nothing has changed")
        live = LiveFile.parse(text)
        if live.intact:
            self._check_way_back(live)

    def file_written(self, marker: str) -> None:
        """Note a file of ours: a document that is applied brings its own, or what replaces it."""
        if self.applying and marker not in self._world.invariants.texts:
            self.helped()

    def _check_way_back(self, live: LiveFile) -> None:
        """Check that each body is tried once, the newest servers with the rest of each.

        Only the last try may have other servers: those that a server came up with.
        """
        daemon = self._world.daemon
        written = daemon.node.config.written if daemon is not None else None
        if written is None or daemon is None or written.marker != live.marker:
            return  # somebody has exchanged the file
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

    def helped(self) -> None:
        """It has come up, or something has changed: all may be tried again."""
        self._tried.clear()
        self._count = 0
        self._old_servers = False


def watch_applier(applier: Applier, invariants: Invariants) -> None:
    """Tell the invariants which documents *applier* accepts."""
    apply = applier.apply

    async def watched(document: Document, *, source: str, force: bool = False) -> ApplyResult:
        invariants.starts.applying = True
        try:
            result = await apply(document, source=source, force=force)
        finally:
            invariants.starts.applying = False
        if source == PUSH:
            invariants.starts.helped()
        if result.outcome in GOOD_OUTCOMES:
            invariants.accepted(document.version)
        return result

    applier.apply = watched  # type: ignore[method-assign]  # app builds the real one
