"""What the parts of the HTTP API agree on: doors, routes, calls and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from compute_ctl.errors import RequestError
from compute_ctl.facts import Snapshot
from compute_ctl.node import Node
from compute_ctl.settings import Deadlines
from compute_ctl.views import encode

JSON: Final = "application/json"
KIB: Final = 1024


class Door(StrEnum):
    """Where a request came in."""

    LOOPBACK = "loopback"
    """127.0.0.1 and ::1: any local process, so "please look again" and reads only."""
    SOCKET = "socket"
    """The unix socket: root and the owner of the data directory; everything."""
    EXTERNAL = "external"
    """Callers from outside, with a token."""

    @property
    def label(self) -> str:
        """How messages call it."""
        return {"loopback": "the loopback port", "socket": "the unix socket"}.get(
            self.value, "the external port"
        )


class Meter(Protocol):
    """What the API tells the metrics, and what it shows of them."""

    def exposition(self, snapshot: Snapshot) -> bytes:
        """Return all metrics in the text format 0.0.4."""

    def on_http(self, door: str, code: int) -> None:
        """An answer was given."""

    def on_dropped(self, door: str, reason: str) -> None:
        """A connection was closed by the guard."""


@dataclass(kw_only=True)
class Api:
    """What the routes work on."""

    node: Node
    meter: Meter
    deadlines: Deadlines
    waiting: int = 0
    """Callers that wait for an outcome right now."""


@dataclass(kw_only=True, slots=True)
class Call:
    """One request, read and allowed."""

    api: Api
    door: Door
    who: str
    """Who asks, for log and history."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes


@dataclass(kw_only=True, slots=True)
class Answer:
    """What to send back."""

    body: bytes = b""
    code: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def say(body: Struct, code: int = 200) -> Answer:
    """Return *body* as a JSON answer."""
    return Answer(body=encode(body), code=code)


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """What a route takes as request body."""

    limit: int
    """Bytes."""
    required: bool = False
    model: type[Struct] | None = None
    """Its shape, for the OpenAPI document; None: any JSON object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A parameter of the query string."""

    name: str
    schema: Mapping[str, object]
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    doors: frozenset[Door]
    run: Callable[[Call], Awaitable[Answer]]
    text: str
    answers: Mapping[int, type[Struct] | str]
    """Bodies by code: a JSON shape, or the content type of something else."""
    body: Body | None = None
    query: tuple[Parameter, ...] = ()
    quiet: bool = False
    """Asked all the time by machines: logged at DEBUG."""


def flag(call: Call, name: str) -> bool:
    """Return a yes-or-no parameter of the query string.

    Raises:
        RequestError: 400, it is neither.
    """
    value = call.query.get(name, "false").lower()
    if value in ("", "1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise RequestError(400, f'parameter "{name}" must be true or false')
