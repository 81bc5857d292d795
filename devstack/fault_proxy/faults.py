"""What can be ordered of the requests to a control plane, and what is in force."""

import dataclasses
from typing import Any, Final

from devstack.faults import Order, OrderBook

ANSWERS: Final = ("answer", "half", "drop", "silent", "older")
LASTING: Final = ("no_hold", "no_reports")


@dataclasses.dataclass(kw_only=True)
class Fault(Order):
    """What happens to requests whose path begins with `path`.

    `answer`: status `code` with `body`. `half`: the true answer, its body cut in
    half. `drop`: the connection ends. `silent`: nothing, until this is withdrawn; then the
    connection ends. `older`: the document before the one answered last. A request that is held
    when one of these is ordered gets it in place of the answer it was held for.

    Beside these: `no_hold`: nothing is held (`Prefer` is not passed on). `no_reports`: no answer
    asks for reports. With both it is a control plane that knows nothing of our additions.
    """

    path: str
    code: int = 200
    body: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """One of a kind and path."""
        return (self.kind, self.path)


def parse_fault(order: dict[str, Any]) -> Fault:
    """Read an order as it came over HTTP. Raises ValueError."""
    if order.get("kind") not in ANSWERS + LASTING:
        raise ValueError(f'unknown fault kind "{order.get("kind")}"')
    try:
        return Fault(**{key: value for key, value in order.items() if value is not None})
    except TypeError as error:
        raise ValueError(str(error)) from error


class FaultBook(OrderBook[Fault]):
    """The orders in force."""

    def take(self, path: str) -> Fault | None:
        """Return the fault of a request to *path*, None if there is none; its count goes down."""
        for order in self._orders:
            if order.kind in ANSWERS and path.startswith(order.path):
                self._strike(order)
                return order
        return None

    def lasts(self, kind: str, path: str) -> bool:
        """Whether a lasting order is in force for *path*."""
        return any(it.kind == kind and path.startswith(it.path) for it in self._orders)

    def clear_path(self, path: str, kind: str | None) -> int:
        """Withdraw the orders for *path*, or those of one kind; how many were in force."""
        return self._withdraw(lambda it: it.path.startswith(path) and kind in (None, it.kind))
