"""Faults on demand, as the stand-ins keep them: what is ordered, how often it still strikes."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any, Generic, TypeVar


@dataclasses.dataclass(kw_only=True)
class Order:
    """One fault. `count` None: until cleared. `cleared` is set when the order is withdrawn."""

    kind: str
    count: int | None = None
    delay_ms: int = 0
    cleared: asyncio.Event = dataclasses.field(default_factory=asyncio.Event, repr=False)

    @property
    def place(self) -> tuple[Any, ...]:
        """What two orders share when the newer replaces the older."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The order as JSON; `count` is what is left."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "cleared"]
        return {name: getattr(self, name) for name in names}


OrderT = TypeVar("OrderT", bound=Order)


class OrderBook(Generic[OrderT]):
    """The orders in force, in the order of their arrival."""

    def __init__(self) -> None:
        self.fired: Counter[str] = Counter()
        self._orders: list[OrderT] = []
        self._spent: list[OrderT] = []  # used up, but a peer may still hang because of them

    def add(self, order: OrderT) -> None:
        """Take an order; it replaces one in the same place."""
        for old in [old for old in self._orders if old.place == order.place]:
            self._orders.remove(old)
            old.cleared.set()
        self._orders.append(order)

    def clear(self, kind: str | None = None) -> int:
        """Withdraw all orders, or those of one kind; the number of those still in force."""
        return self._withdraw(lambda order: kind in (None, order.kind))

    def reset(self) -> None:
        """Withdraw everything and forget what has fired."""
        self.clear()
        self.fired.clear()

    def describe(self) -> list[dict[str, Any]]:
        """All orders in force."""
        return [order.describe() for order in self._orders]

    def _withdraw(self, meant: Callable[[OrderT], bool]) -> int:
        gone = [order for order in self._orders if meant(order)]
        for order in gone:
            self._orders.remove(order)
        for order in [*gone, *filter(meant, self._spent)]:
            order.cleared.set()
        self._spent = [order for order in self._spent if not order.cleared.is_set()]
        return len(gone)

    def _strike(self, order: OrderT) -> None:
        self.fired[order.kind] += 1
        if order.count is None:
            return
        order.count -= 1
        if order.count == 0:
            self._orders.remove(order)
            self._spent.append(order)
