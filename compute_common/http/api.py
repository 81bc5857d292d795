"""The types that all parts of an HTTP API share: routes, calls and responses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from compute_common.errors import RequestError
from compute_common.http.bodies import encode
from compute_common.text import printable

JSON: Final = "application/json"
KIB: Final = 1024

A = TypeVar("A")
"""What the functions of a program's routes work on."""
T = TypeVar("T", bound=Struct)


class RequestMetrics(Protocol):
    """Counts requests and connections."""

    def on_http(self, listener: str, code: int) -> None:
        """Count an answered request."""

    def on_dropped(self, listener: str, reason: str) -> None:
        """Count a connection that `ConnectionLimiter` closed: it was "slow", or all was "full"."""


@dataclass(kw_only=True, slots=True)
class Call(Generic[A]):
    """One request after authentication, with its body read."""

    api: A
    listener: str
    """Name of the listener that took it."""
    who: str
    """The caller, for log and history."""
    path: Mapping[str, str] = field(default_factory=dict)
    """The parameters in the path of the route."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes


@dataclass(kw_only=True, slots=True)
class ApiResponse:
    """A response, independent of the HTTP library."""

    body: bytes = b""
    code: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncGenerator[bytes, None] | None = None
    """The rest of a long body; the pipeline always closes it."""


def json_response(body: Struct, code: int = 200) -> ApiResponse:
    """Return *body* as a JSON response."""
    return ApiResponse(body=encode(body), code=code)


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestBody:
    """The request body that a route accepts."""

    limit: int
    """Bytes."""
    required: bool = False
    model: type[Struct] | None = None
    """Its schema in the OpenAPI document; None: any JSON object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A parameter of the query string."""

    name: str
    schema: Mapping[str, object]
    text: str
    required: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Route(Generic[A]):
    """One method of one path."""

    method: str
    path: str
    """A segment in braces is a parameter: ``/computes/{id}/spec``. It matches one segment."""
    listeners: frozenset[str]
    """Names of the listeners that serve it; on the others it answers 403."""
    run: Callable[[Call[A]], Awaitable[ApiResponse]]
    """Is cancelled when the caller hangs up."""
    text: str
    answers: Mapping[int, type[Struct] | str]
    """By status code: the JSON schema, or the content type of something else."""
    body: RequestBody | None = None
    query: tuple[Parameter, ...] = ()
    quiet: bool = False
    """Polled by machines, so logged at DEBUG."""
    open: bool = False
    """No token is asked for: probes and scrapers have none."""

    def parameters(self, path: str) -> dict[str, str]:
        """Return the parameters in *path*, which must be one of this route."""
        if "{" not in self.path:
            return {}
        segments = path.split("/")
        return {name: segments[index] for index, name in _parameters_of(self.path)}


@cache  # for each path that a route has
def _parameters_of(path: str) -> tuple[tuple[int, str], ...]:
    """Return which segments of a route's *path* are parameters, and their names."""
    segments = enumerate(path.split("/"))
    return tuple((index, one[1:-1]) for index, one in segments if is_parameter(one))


def is_parameter(segment: str) -> bool:
    """Whether a *segment* of a route's path is a parameter."""
    return segment.startswith("{") and segment.endswith("}")


def flag(call: Call[A], name: str) -> bool:
    """Return a boolean parameter of the query string.

    Raises:
        RequestError: 400, it is not a boolean.
    """
    value = call.query.get(name, "false").lower()
    if value in ("", "1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise RequestError(
        400, f'parameter "{name}" must be true or false, not "{printable(value, 40)}"'
    )


def decode(body: bytes, model: type[T]) -> T:
    """Decode *body* from JSON into a *model*.

    Invalid UTF-8 is replaced: an error text of Postgres may be in any encoding, which must not make
    the refresh request fail.

    Raises:
        RequestError: 400 not JSON, 422 not a *model*.
    """
    text = body.decode(errors="replace")
    try:
        return msgspec.json.decode(text, type=model)
    except msgspec.ValidationError as error:
        raise RequestError(422, f"the request body has the wrong shape: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(400, f"the request body is not JSON: {error}") from error
