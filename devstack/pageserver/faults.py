"""Faults on demand: what a test orders, when it strikes, and how often.

The order book only; who carries a fault out is `server` (connections) and `mangle` (answers).
"""

import dataclasses
from typing import Any

from devstack.faults import Order, OrderBook
from devstack.pageserver.messages import RESPONSE_TAGS

BACKUP = ("basebackup", "basebackup_middle", "basebackup_end")
"""Phases of a base backup: before the archive, in its middle, and after its last byte."""
PHASES = ("accept", "startup", "auth", "pagestream", "response", *BACKUP)
HTTP = "http"
"""The phase of the port beside libpq, which has faults of its own."""

# kind -> phases it can strike in; the first is the default
KINDS: dict[str, tuple[str, ...]] = {
    "refuse": ("accept", HTTP),
    "reset": PHASES,
    "close": (*PHASES, HTTP),
    "silent": ("response", "accept", "startup", "auth", "pagestream", *BACKUP, HTTP),
    "slow": ("response", "startup", "auth", "pagestream", *BACKUP, HTTP),
    "reconnect": ("response", "pagestream"),
    "shutdown": ("response", "pagestream"),
    "timed_out": ("response", "pagestream"),
    "not_found": ("response",),
    "error": ("response", *BACKUP),
    "refuse_query": ("pagestream",),
    "auth_fail": ("auth",),
    "bad_framing": ("response",),
    "half_message": ("response",),
    "wrong_echo": ("response",),
    "wrong_tag": ("response",),
    "wrong_type": ("response",),
    "truncated": ("response",),
    "trailing": ("response",),
    "copy_done": ("response",),
    "copy_fail": ("response",),
}
ECHO_FIELDS = (
    *("reqid", "request_lsn", "not_modified_since"),
    *("spcnode", "dbnode", "relnode", "forknum", "blkno", "kind", "segno"),
)


class FaultError(ValueError):
    """An order that makes no sense."""


@dataclasses.dataclass(kw_only=True)
class Fault(Order):
    """One order in a phase."""

    phase: str
    request: str | None = None
    field: str | None = None
    text: str | None = None
    end: str = "silence"

    @property
    def place(self) -> tuple[str, str, str | None]:
        """One of a kind, phase and kind of request."""
        return (self.kind, self.phase, self.request)

    def strikes(self, phase: str, request: str | None) -> bool:
        """Whether this order is meant for the phase and the kind of request."""
        return self.phase == phase and self.request in (None, request)


def parse_fault(order: dict[str, Any]) -> Fault:
    """Check an order as it came over HTTP. Raises FaultError."""
    known = {"kind", "phase", "count", "delay_ms", "request", "field", "text", "end"}
    if unknown := set(order) - known:
        raise FaultError(f'unknown fault key "{min(unknown)}"')
    given = {key: value for key, value in order.items() if value is not None}
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FaultError(f'unknown fault kind "{kind}"')
    given.setdefault("phase", KINDS[kind][0])
    _one_of(given, "phase", KINDS[kind])
    _one_of(given, "request", tuple(RESPONSE_TAGS))
    _one_of(given, "field", ECHO_FIELDS)
    _one_of(given, "end", ("silence", "fin"))
    for name, least in (("count", 1), ("delay_ms", 0)):
        value = given.get(name, least)
        if type(value) is not int or value < least:
            raise FaultError(f'invalid {name} "{value}"')
    if not isinstance(given.get("text", ""), str):
        raise FaultError("invalid text")
    if "request" in given and given["phase"] != "response":
        raise FaultError(f'a request kind has no meaning in phase "{given["phase"]}"')
    if kind == "refuse" and "count" in given:
        raise FaultError("refused connections cannot be counted")
    if kind == "wrong_echo":
        given.setdefault("field", "reqid")
    return Fault(**given)


def _one_of(order: dict[str, Any], name: str, allowed: tuple[str, ...]) -> None:
    value = order.get(name)
    if value is not None and value not in allowed:
        raise FaultError(f'{name} must be one of {", ".join(allowed)}, not "{value}"')


class FaultBook(OrderBook[Fault]):
    """The orders in force."""

    def active(self, kind: str, phase: str) -> bool:
        """Whether an order of this kind is in force in the phase."""
        return any((order.kind, order.phase) == (kind, phase) for order in self._orders)

    def pending(self, phase: str) -> bool:
        """Whether any order waits for this phase."""
        return any(order.phase == phase for order in self._orders)

    def take_delay(self, phase: str, request: str | None = None) -> float:
        """Seconds to wait first (`slow`), counted as one strike if there is an order."""
        fault = self._take(phase, request, slow=True)
        return fault.delay_ms / 1000 if fault else 0.0

    def take(self, phase: str, request: str | None = None) -> Fault | None:
        """The fault that strikes now, if any; one strike less is left of it."""
        return self._take(phase, request, slow=False)

    def _take(self, phase: str, request: str | None, *, slow: bool) -> Fault | None:
        for order in self._orders:
            if order.kind == "refuse" or (order.kind == "slow") is not slow:
                continue
            if order.strikes(phase, request):
                self._strike(order)
                return order
        return None
