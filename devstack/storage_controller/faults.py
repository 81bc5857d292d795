"""Faults of the controller on demand: of its hooks, and of its own network. The order book only.

A hook that is `lost` or held back counts as answered with 200, since that is what makes the fault:
the controller believes that it was heard.
"""

import dataclasses
from typing import Any

from devstack.faults import Order, OrderBook

HOOKS = ("notify-attach", "notify-safekeepers")
HOOK_KINDS = ("lost", "doubled", "late", "reordered")
CUT_OFF = ("cut_off_hooks", "cut_off_nodes")
MAX_DELAY_MS = 3_600_000


@dataclasses.dataclass(kw_only=True)
class Fault(Order):
    """One order.

    `lost`: not sent. `late`: sent `delay_ms` later, answered truthfully. `doubled`: a copy follows
    `delay_ms` after the answer. `reordered`: sent after the next notification of the same tenant.
    `cut_off_hooks`, `cut_off_nodes`: no request to the control plane, or to pageservers, gets out.
    """

    hook: str | None = None

    @property
    def place(self) -> tuple[str, str | None]:
        """One of a kind and hook."""
        return (self.kind, self.hook)


def parse_fault(order: dict[str, Any]) -> Fault:
    """Check an order as it came over HTTP. Raises ValueError."""
    given = {key: value for key, value in order.items() if value is not None}
    if unknown := set(given) - {"kind", "count", "delay_ms", "hook"}:
        raise ValueError(f'unknown fault key "{min(unknown)}"')
    if given.get("kind") not in HOOK_KINDS + CUT_OFF:
        raise ValueError(f'unknown fault kind "{given.get("kind")}"')
    if given.get("hook", HOOKS[0]) not in HOOKS:
        raise ValueError(f'hook must be one of {", ".join(HOOKS)}, not "{given["hook"]}"')
    for name, least, most in (("count", 1, 1 << 31), ("delay_ms", 0, MAX_DELAY_MS)):
        value = given.get(name, least)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f'invalid {name} "{value}"')
    return Fault(**given)


class FaultBook(OrderBook[Fault]):
    """The orders in force."""

    def take(self, hook: str) -> Fault | None:
        """The fault that strikes the next request of a hook; one strike less is left of it."""
        for order in self._orders:
            if order.kind in HOOK_KINDS and order.hook in (None, hook):
                self._strike(order)
                return order
        return None

    def cut_off(self, kind: str) -> bool:
        """Whether requests of this kind get nowhere."""
        for order in self._orders:
            if order.kind == kind:
                self._strike(order)
                return True
        return False
