"""The types that all parts of the HTTP API share: listeners, routes, calls and responses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from compute_common.errors import RequestError
from compute_ctl.decisions.snapshot import Snapshot
from compute_ctl.http.responses import encode
from compute_ctl.http.startup import Startup
from compute_ctl.node import Node
from compute_ctl.settings import Deadlines

JSON: Final = "application/json"
KIB: Final = 1024

T = TypeVar("T", bound=Struct)


class Listener(StrEnum):
    """Where requests come in. Metrics, log fields and the OpenAPI document call it a door."""

    LOOPBACK = "loopback"
    """127.0.0.1 and ::1, open to any local process: refresh requests and reads only."""
    SOCKET = "socket"
    """The unix socket, open to root and the owner of the data directory: all routes."""
    EXTERNAL = "external"
    """All addresses, for callers with a token."""

    @property
    def label(self) -> str:
        """Its name in messages."""
        return {"loopback": "the loopback port", "socket": "the unix socket"}.get(
            self.value, "the external port"
        )


class HttpMetrics(Protocol):
    """Counts requests and renders all metrics."""

    def exposition(self, snapshot: Snapshot) -> bytes:
        """Return all metrics in the text format 0.0.4."""

    def on_http(self, listener: str, code: int) -> None:
        """Count an answered request."""

    def on_dropped(self, listener: str, reason: str) -> None:
        """Count a connection that `ConnectionLimiter` closed."""


class CatalogService(Protocol):
    """The routes that need SQL.

    Every method raises ComputeError on failure, or RequestError to choose the status (404 for a
    database that does not exist).
    """

    async def dbs_and_roles(self) -> Mapping[str, object]:
        """Return `roles` (name, encrypted_password, options: null) and `databases` (name, owner,
        options: null, restrict_conn, invalid), as the reference has them.
        """

    async def insights(self) -> Mapping[str, object]:
        """Return `pg_stat_statements`: a list of its rows."""

    async def check_writability(self) -> None:
        """Write a row; a full disk is not an error."""

    def database_schema(self, database: str) -> AsyncGenerator[bytes, None]:
        """Yield the output of `pg_dump --schema-only`; errors come before the first piece."""

    async def install_extension(self, *, extension: str, database: str, version: str) -> None:
        """Create the extension in *database*, or update it to *version*."""

    async def grant(
        self, *, database: str, schema: str, role: str, privileges: Sequence[str]
    ) -> None:
        """Grant the privileges that *role* does not have yet."""


@dataclass(kw_only=True)
class Api:
    """The objects that the route functions use."""

    node: Node
    metrics: HttpMetrics
    deadlines: Deadlines
    startup: Startup
    catalog: CatalogService | None = None
    """None: the routes that need SQL answer 501."""
    waiting: int = 0
    """Callers that wait for the outcome of a refresh."""


@dataclass(kw_only=True, slots=True)
class Call:
    """One request after authentication, with its body read."""

    api: Api
    listener: Listener
    who: str
    """The caller, for log and history."""
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
class Route:
    """One method of one path."""

    method: str
    path: str
    listeners: frozenset[Listener]
    run: Callable[[Call], Awaitable[ApiResponse]]
    text: str
    answers: Mapping[int, type[Struct] | str]
    """By status code: the JSON schema, or the content type of something else."""
    body: RequestBody | None = None
    query: tuple[Parameter, ...] = ()
    quiet: bool = False
    """Polled by machines, so logged at DEBUG."""
    by_worker: bool = False
    """Repeated by the worker in Postgres during an outage, and logged at DEBUG then."""
    open: bool = False
    """The external listener asks for no token: probes and scrapers have none."""
    opens: bool = False
    """An option of the operator adds it to the loopback listener."""


def user_name(uid: int) -> str:
    """Return the name of a unix socket caller in log and history."""
    return f"uid {uid}"


def flag(call: Call, name: str) -> bool:
    """Return a boolean parameter of the query string.

    Raises:
        RequestError: 400, it is not a boolean.
    """
    value = call.query.get(name, "false").lower()
    if value in ("", "1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise RequestError(400, f'parameter "{name}" must be true or false')


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
