"""What comes back after a reload: acknowledgements by the worker, and errors of the postmaster."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from compute_ctl.decisions.model import AckAnswer, AckMessage, Written
from compute_ctl.decisions.proof import Ack
from compute_ctl.decisions.reload_errors import SAID, Part, ReloadError


class Acks:
    """Checks acknowledgements and wakes the attempt that waits for one."""

    def __init__(self) -> None:
        self._earlier: deque[str] = deque(maxlen=16)
        self._current: Written | None = None
        self._arrived = asyncio.Event()
        self.latest: Ack | None = None
        """The last acknowledgement of the current marker."""
        self._awaited = False
        self.unasked = False
        """The last one came without a signal of the daemon: somebody else may have reloaded."""

    def expect(self, written: Written) -> None:
        """From now on only the marker of *written* counts."""
        if self._current is not None:
            self._earlier.append(str(self._current.marker))
        self._current = written
        self.forget()

    def forget(self) -> None:
        """Ignore earlier acknowledgements: only a later one counts."""
        self.latest = None
        self._awaited = True
        self._arrived.clear()

    def take(self, message: AckMessage) -> AckAnswer:
        """Check an acknowledgement; one for an unknown marker proves nothing."""
        current = self._current
        if current is None or message.marker != str(current.marker):
            return AckAnswer.STALE if message.marker in self._earlier else AckAnswer.UNKNOWN
        self.latest = Ack(map_matches=current.map_sha256 in ("", message.map_sha256))
        self.unasked, self._awaited = not self._awaited, False
        self._arrived.set()
        return AckAnswer.TAKEN

    async def wait(self, timeout_s: float) -> Ack | None:
        """Wait until the current marker is acknowledged; None: not in time."""
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        except TimeoutError:
            return None
        return self.latest


class ReloadErrors:
    """What the postmaster did not reload with the live generation."""

    def __init__(self) -> None:
        self._current: Written | None = None
        self._logged: dict[Part, str] = {}
        self._acknowledged: dict[Part, str] = {}
        self.before: frozenset[Part] = frozenset()
        """What it had not reloaded before, with the rest before this one."""

    @property
    def heard(self) -> dict[Part, str]:
        """What was not reloaded, and the message; the log has more than the library."""
        return self._acknowledged | self._logged

    def expect(self, written: Written) -> None:
        """From now on the reloads of *written* count."""
        if self._current is None or self._current.rest != written.rest:
            self.before = frozenset(self.heard)
        self._current = written
        self.reload()

    def reload(self) -> None:
        """A reload begins."""
        self._logged, self._acknowledged = {}, {}

    def log(self, error: ReloadError) -> bool:
        """Record an error from the log; return whether it is new for the current generation."""
        current = self._current
        if current is None or error.marker not in (None, str(current.marker)):
            return False
        news = error.part not in self.heard
        self._logged[error.part] = error.text
        return news

    def acknowledge(self, parts: Iterable[str]) -> bool:
        """Record what came with an acknowledgement; return whether it is new.

        The first acknowledgement after a reload may come before the errors are known; a later one
        then has them.
        """
        known = {part: SAID[part] for part in Part if part in parts}
        news = not known.keys() <= self.heard.keys()
        self._acknowledged = known
        return news
