"""The acknowledgements that Postgres sends for the marker it has published."""

from __future__ import annotations

import asyncio
from collections import deque

from compute_ctl.decisions.model import AckAnswer, AckMessage, Written
from compute_ctl.decisions.proof import Ack


class Acks:
    """Weighs acknowledgements and wakes the attempt that waits for one."""

    def __init__(self) -> None:
        self._earlier: deque[str] = deque(maxlen=16)
        self._current: Written | None = None
        self._arrived = asyncio.Event()
        self.latest: Ack | None = None
        """The last acknowledgement of the current marker."""
        self._awaited = False
        self.unasked = False
        """The last one came without a signal of ours: somebody else has reloaded, perhaps."""

    def expect(self, written: Written) -> None:
        """From now on only *written*'s marker proves anything."""
        if self._current is not None:
            self._earlier.append(str(self._current.marker))
        self._current = written
        self.forget()

    def forget(self) -> None:
        """Drop what has arrived: only an acknowledgement still to come counts."""
        self.latest = None
        self._awaited = True
        self._arrived.clear()

    def take(self, message: AckMessage) -> AckAnswer:
        """Weigh one acknowledgement; an unknown marker proves nothing, whoever sends it."""
        current = self._current
        if current is None or message.marker != str(current.marker):
            return AckAnswer.STALE if message.marker in self._earlier else AckAnswer.UNKNOWN
        self.latest = Ack(map_matches=current.map_sha256 in ("", message.map_sha256))
        self.unasked, self._awaited = not self._awaited, False
        self._arrived.set()
        return AckAnswer.TAKEN

    async def wait(self, timeout_s: float) -> Ack | None:
        """Wait until the current marker is acknowledged; None if it is not in time."""
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        except TimeoutError:
            return None
        return self.latest
