"""What can be ordered of a route, and what is in force there. Pure."""

from dataclasses import dataclass
from typing import Any, Final

MOMENTARY: Final = ("reset", "half_open")
LASTING: Final = ("refuse", "blackhole", "delay", "half")
ENDS: Final = ("rst", "silence")


@dataclass(frozen=True, kw_only=True)
class Order:
    """One fault of a route.

    `reset`: every open connection is reset. `half_open`: every open connection is dead for good,
    and neither side is told. `refuse`: like `reset`, and new connections are refused. `blackhole`:
    nothing passes any more; what waits goes on when it is withdrawn. `delay`: each piece takes
    `delay_ms` longer. `half`: of the next answer only `keep` bytes pass; then the connection is
    reset (`end` rst) or dead (silence).
    """

    kind: str
    delay_ms: int = 0
    keep: int = 1
    end: str = "rst"


def parse_order(body: dict[str, Any]) -> Order:
    """Check an order as it came over HTTP. Raises ValueError."""
    given = {key: value for key, value in body.items() if value is not None}
    if unknown := set(given) - {"kind", "delay_ms", "keep", "end"}:
        raise ValueError(f'unknown fault key "{min(unknown)}"')
    if given.get("kind") not in MOMENTARY + LASTING:
        raise ValueError(f'unknown fault kind "{given.get("kind")}"')
    for name, least in (("delay_ms", 0), ("keep", 0)):
        value = given.get(name, least)
        if type(value) is not int or not least <= value <= 1_000_000:
            raise ValueError(f'invalid {name} "{value}"')
    if given.get("end", "rst") not in ENDS:
        raise ValueError(f'end must be one of {", ".join(ENDS)}, not "{given["end"]}"')
    return Order(**given)


class Orders:
    """The lasting orders in force; at most one of a kind."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}

    def add(self, order: Order) -> None:
        """Put one in force, in the place of another of its kind."""
        self._orders[order.kind] = order

    def clear(self, kind: str | None) -> int:
        """Withdraw one kind, or all; how many were in force."""
        gone = [one for one in self._orders if kind in (None, one)]
        for one in gone:
            del self._orders[one]
        return len(gone)

    def active(self, kind: str) -> bool:
        """Whether one of this kind is in force."""
        return kind in self._orders

    @property
    def delay_s(self) -> float:
        """Seconds by which each piece is late."""
        order = self._orders.get("delay")
        return order.delay_ms / 1000 if order else 0.0

    def take_half(self) -> Order | None:
        """The order to tear an answer, which is then used up."""
        return self._orders.pop("half", None)
