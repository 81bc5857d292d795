"""Faults of the control plane on demand: what is ordered, and how it is carried out."""

import asyncio
import dataclasses
from typing import Any

from aiohttp import web

from devstack.faults import Order, OrderBook
from devstack.serve import Handler

ROUTES = ("spec", "notify", "report")
KINDS = (
    *("status", "slow", "garbage", "half_json", "drop", "silent"),
    *("older", "unauthorized", "busy"),
)
GARBAGE = b"\x00\xff<html>not what you asked for"


@dataclasses.dataclass(kw_only=True)
class Fault(Order):
    """One order to a route."""

    route: str = "spec"
    code: int = 503
    retry_after: int | None = None

    @property
    def place(self) -> tuple[str, str]:
        """One of a kind and route."""
        return (self.kind, self.route)


def parse_fault(order: dict[str, Any]) -> Fault:
    """Check an order as it came over HTTP. Raises ValueError."""
    known = {"kind", "route", "count", "code", "retry_after", "delay_ms"}
    if unknown := set(order) - known:
        raise ValueError(f'unknown fault key "{min(unknown)}"')
    given = {key: value for key, value in order.items() if value is not None}
    kind = given.get("kind")
    if kind not in KINDS:
        raise ValueError(f'unknown fault kind "{kind}"')
    given.setdefault("route", "notify" if kind == "busy" else "spec")
    if given["route"] not in ROUTES:
        raise ValueError(f'route must be spec or notify, not "{given["route"]}"')
    bounds = {"count": (1, 1 << 31), "code": (400, 599), "retry_after": (0, 3600)}
    for name, (least, most) in {**bounds, "delay_ms": (0, 600_000)}.items():
        value = given.get(name, least)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f'invalid {name} "{value}"')
    return Fault(**given)


class FaultBook(OrderBook[Fault]):
    """The orders in force."""

    def take(self, route: str) -> list[Fault]:
        """What strikes now: at most one delay, then at most one other fault."""
        mine = [order for order in self._orders if order.route == route]
        slow = [order for order in mine if order.kind == "slow"][:1]
        other = [order for order in mine if order.kind != "slow"][:1]
        for order in [*slow, *other]:
            self._strike(order)
        return [*slow, *other]


async def answer_wrongly(  # noqa: PLR0911 - a table
    fault: Fault, request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Carry out one fault instead of, or around, the right answer."""
    match fault.kind:
        case "status":
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return _error(fault.code, "ordered failure", headers)
        case "unauthorized":
            return _error(401, "ordered refusal")
        case "busy":
            return _error(423, "busy, not applied")
        case "garbage":
            return web.Response(body=GARBAGE, content_type="application/json")
        case "silent" | "drop":
            if fault.kind == "silent":
                await fault.cleared.wait()
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        case "half_json":
            return _half(await handler(request))
        case _:
            await asyncio.sleep(fault.delay_ms / 1000)
            return await handler(request)


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=headers)


def _half(answer: web.StreamResponse) -> web.StreamResponse:
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
        return answer
    half = answer.body[: len(answer.body) // 2]
    return web.Response(status=answer.status, body=half, content_type="application/json")
