"""The newest events of the store, and their keys, which count up."""

from __future__ import annotations

import secrets
from collections import deque
from itertools import islice
from typing import Final

import msgspec

from control_plane.decisions.model import HistoryEvent, Verdict
from control_plane.ports import Write

HISTORY: Final = "history/"
HISTORY_KEPT: Final = 10_000
"""Events; older ones are deleted."""
VERDICTS_KEPT: Final = 100
PRUNE_EVERY: Final = 100


class EventHistory:
    """What the store holds of them, oldest first.

    An event's key has a number, not its time: a clock may be set back, and what came last stays
    last. Keys of earlier versions have microseconds there, after which the numbers go on.
    """

    def __init__(self) -> None:
        self.events: deque[HistoryEvent] = deque(maxlen=HISTORY_KEPT)
        self.verdicts: deque[Verdict] = deque(maxlen=VERDICTS_KEPT)
        """Those of the events."""
        self._keys: dict[str, None] = {}
        self._number = 0
        """The highest that was used."""
        self._pruning = False

    def write(self, event: HistoryEvent) -> Write:
        """Return the write of a new event."""
        self._number += 1
        # The rest tells apart what replicas write at the same time.
        key = f"{HISTORY}{self._number:020d}-{secrets.token_hex(4)}"
        return Write(key=key, value=msgspec.json.encode(event))

    def take(self, key: str, event: HistoryEvent | None) -> None:
        """Take what the store holds now; None: it was deleted."""
        if event is None:
            self._keys.pop(key, None)
        elif key not in self._keys:
            self._number = max(self._number, _number(key))
            self._keys[key] = None
            self.events.append(event)
            if event.verdict is not None:
                self.verdicts.append(event.verdict)

    def prune(self) -> list[Write]:
        """Return the writes that delete what is too much; call `pruned` when they are done."""
        excess = len(self._keys) - HISTORY_KEPT
        if excess < PRUNE_EVERY or self._pruning:
            return []
        self._pruning = True
        return [Write(key=key, value=None) for key in islice(self._keys, excess)]

    def pruned(self) -> None:
        """Allow the next `prune`."""
        self._pruning = False


def _number(key: str) -> int:
    """Return the number of an event, 0 where its key has none."""
    digits = key.removeprefix(HISTORY).partition("-")[0]
    return int(digits) if digits.isdigit() else 0
