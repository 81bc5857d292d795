"""The newest events of the store, and the keys of new ones."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from control_plane.decisions.model import HistoryEvent, Verdict
from control_plane.decisions.view_state import Moment
from control_plane.ports import Write

HISTORY: Final = "history/"
HISTORY_KEPT: Final = 10_000
"""Events; older ones are deleted."""
VERDICTS_KEPT: Final = 100
PRUNE_EVERY: Final = 100


class EventHistory:
    """The newest events that the store holds, oldest first.

    Keys contain a number that counts up, not the time: the order stays right when the clock is set
    back. Keys of earlier versions contain microseconds instead; new numbers go on above them.
    """

    def __init__(self) -> None:
        self.events: deque[HistoryEvent] = deque(maxlen=HISTORY_KEPT)
        self.verdicts: deque[Verdict] = deque(maxlen=VERDICTS_KEPT)
        """Those that `events` has, and some older ones."""
        self._learned: deque[Moment] = deque(maxlen=HISTORY_KEPT)
        """When each of `events` came in here."""
        self._keys: dict[str, None] = {}
        self._number = 0
        """The highest number in a key."""
        self._pruning = False
        """Whether what `prune` returned is being committed."""

    def write(self, event: HistoryEvent) -> Write:
        """Return the write of a new event."""
        self._number += 1
        # The random part: replicas may use the same number at the same time.
        key = f"{HISTORY}{self._number:020d}-{secrets.token_hex(4)}"
        return Write(key=key, value=msgspec.json.encode(event))

    def dated(self) -> Iterator[tuple[HistoryEvent, Moment]]:
        """Return `events`, each with the moment at which it came in here."""
        return zip(self.events, self._learned, strict=True)

    def take(self, key: str, event: HistoryEvent | None, now: Moment) -> None:
        """Add the event that the store holds under *key*; None: it was deleted there."""
        if event is None:
            self._keys.pop(key, None)
        elif key not in self._keys:
            self._number = max(self._number, _number(key))
            self._keys[key] = None
            self.events.append(event)
            self._learned.append(now)
            if event.verdict is not None:
                self.verdicts.append(event.verdict)

    def prune(self) -> list[Write]:
        """Return the writes that delete the events above `HISTORY_KEPT`; then call `pruned`.

        Nothing is returned again before `pruned`: changes are committed side by side.
        """
        excess = len(self._keys) - HISTORY_KEPT
        if excess < PRUNE_EVERY or self._pruning:
            return []
        self._pruning = True
        return [Write(key=key, value=None) for key in islice(self._keys, excess)]

    def pruned(self) -> None:
        """Note that what `prune` returned was committed, or was not and is returned again."""
        self._pruning = False


def _number(key: str) -> int:
    """Return the number of an event, 0 where its key has none."""
    digits = key.removeprefix(HISTORY).partition("-")[0]
    return int(digits) if digits.isdigit() else 0
