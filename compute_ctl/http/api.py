"""What the parts of the HTTP API agree on: listeners, routes, calls and answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from compute_ctl.decisions.model import Snapshot
from compute_ctl.errors import RequestError
from compute_ctl.http.responses import encode
from compute_ctl.http.startup import Startup
from compute_ctl.node import Node
from compute_ctl.settings import Deadlines

JSON: Final = "application/json"
KIB: Final = 1024


class Listener(StrEnum):
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


class HttpMetrics(Protocol):
    """What the API tells the metrics, and what it shows of them."""

    def exposition(self, snapshot: Snapshot) -> bytes:
        """Return all metrics in the text format 0.0.4."""

    def on_http(self, listener: str, code: int) -> None:
        """An answer was given."""

    def on_dropped(self, listener: str, reason: str) -> None:
        """A connection was closed by the guard."""


class CatalogService(Protocol):
    """What is asked of Postgres over SQL.

    Every method raises ComputeError where it cannot be done, and RequestError where the caller is
    to get a certain status (404 for a database that is not there).
    """

    async def dbs_and_roles(self) -> Mapping[str, object]:
        """Return `roles` (name, encrypted_password, options: null) and `databases` (name, owner,
        options: null, restrict_conn, invalid), as the reference has them.
        """

    async def insights(self) -> Mapping[str, object]:
        """Return `pg_stat_statements`: a list of its rows."""

    async def check_writability(self) -> None:
        """Write a row; a disk that is full is no error."""

    def database_schema(self, database: str) -> AsyncGenerator[bytes, None]:
        """Yield the output of `pg_dump --schema-only`; the first piece raises what is wrong."""

    async def install_extension(self, *, extension: str, database: str, version: str) -> None:
        """Make the extension in *database*, or bring it to *version*."""

    async def grant(
        self, *, database: str, schema: str, role: str, privileges: Sequence[str]
    ) -> None:
        """Grant what *role* does not have yet."""


@dataclass(kw_only=True)
class Api:
    """What the routes work on."""

    node: Node
    metrics: HttpMetrics
    deadlines: Deadlines
    startup: Startup
    catalog: CatalogService | None = None
    """None: the routes that need it answer 501."""
    waiting: int = 0
    """Callers that wait for an outcome right now."""


@dataclass(kw_only=True, slots=True)
class Call:
    """One request, read and allowed."""

    api: Api
    listener: Listener
    who: str
    """Who asks, for log and history."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes


@dataclass(kw_only=True, slots=True)
class ApiResponse:
    """What to send back."""

    body: bytes = b""
    code: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncGenerator[bytes, None] | None = None
    """The rest of the body, where it may be long; always closed."""


def json_response(body: Struct, code: int = 200) -> ApiResponse:
    """Return *body* as a JSON answer."""
    return ApiResponse(body=encode(body), code=code)


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestBody:
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
    """Bodies by code: a JSON shape, or the content type of something else."""
    body: RequestBody | None = None
    query: tuple[Parameter, ...] = ()
    quiet: bool = False
    """Asked all the time by machines: logged at DEBUG."""
    by_worker: bool = False
    """Repeated by Postgres's worker while trouble lasts: logged at DEBUG then."""
    open: bool = False
    """Served at the external listener without a token: probes and scrapers have none."""
    opens: bool = False
    """Served at the loopback listener too where the operator wants that."""


def user_name(uid: int) -> str:
    """Return how a caller at the unix socket is named in log and history."""
    return f"uid {uid}"


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
