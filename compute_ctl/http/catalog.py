"""The routes that need SQL: databases, roles, schema, extensions, grants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from compute_common.errors import ComputeError, RequestError
from compute_common.http.api import ApiResponse, decode, json_response
from compute_ctl.decisions.transitions import TERMINATING, Status
from compute_ctl.http.api import Call, CatalogService
from compute_ctl.http.responses import ExtensionBody, GrantBody

DEADLINE_S: Final = 70.0
"""Longer than the limits of `CatalogService`; for a dump, until its first piece."""
T = TypeVar("T")

Name = Annotated[str, Meta(min_length=1, max_length=1024)]
Privilege = Literal[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
    "USAGE",
    "CREATE",
    "CONNECT",
    "TEMPORARY",
    "EXECUTE",
]


class ExtensionRequest(Struct, frozen=True, kw_only=True):
    """The body of POST /extensions."""

    extension: Name
    database: Name
    version: Name


class GrantRequest(Struct, frozen=True, kw_only=True):
    """The body of POST /grants."""

    database: Name
    schema: Name
    role: Name
    privileges: Annotated[tuple[Privilege, ...], Meta(min_length=1)]


async def dbs_and_roles(call: Call) -> ApiResponse:
    """Return databases and roles, with their password verifiers."""
    found = await _run(_service(call).dbs_and_roles(), "could not list databases and roles")
    return ApiResponse(body=msgspec.json.encode(found))


async def insights(call: Call) -> ApiResponse:
    """Return pg_stat_statements as Neon does: JSON in a JSON string."""
    found = await _run(_service(call).insights(), "could not read pg_stat_statements")
    return ApiResponse(body=msgspec.json.encode(msgspec.json.encode(found).decode()))


async def check_writability(call: Call) -> ApiResponse:
    """Write a row and return true."""
    await _run(_service(call).check_writability(), "could not write")
    return ApiResponse(body=b"true")


async def database_schema(call: Call) -> ApiResponse:
    """Stream the output of pg_dump for one database."""
    database = call.query.get("database")
    if not database or "\0" in database:
        raise RequestError(400, 'parameter "database" is missing')
    dump = _service(call).database_schema(database)
    first = await _run(anext(dump, b""), "failed to execute pg_dump")
    return ApiResponse(body=first, stream=dump)


async def extensions(call: Call) -> ApiResponse:
    """Create or update an extension."""
    wanted = decode(call.body, ExtensionRequest)
    made = _service(call).install_extension(
        extension=wanted.extension, database=wanted.database, version=wanted.version
    )
    await _run(made, "failed to install extension")
    return json_response(ExtensionBody(extension=wanted.extension, version=wanted.version), 201)


async def grants(call: Call) -> ApiResponse:
    """Grant privileges on a schema."""
    wanted = decode(call.body, GrantRequest)
    granted = _service(call).grant(
        database=wanted.database,
        schema=wanted.schema,
        role=wanted.role,
        privileges=wanted.privileges,
    )
    await _run(granted, "failed to grant role privileges to the schema")
    body = GrantBody(
        database=wanted.database,
        schema=wanted.schema,
        privileges=list(wanted.privileges),
        role=wanted.role,
    )
    return json_response(body, 201)


def _service(call: Call) -> CatalogService:
    """Return the catalog service if Postgres accepts connections."""
    node, catalog = call.api.node, call.api.catalog
    if catalog is None:
        raise RequestError(501, "queries about the catalog are not served here")
    if node.status is Status.EMPTY or node.status in TERMINATING:
        raise RequestError(412, f"invalid compute status: {node.status.kebab}")
    if not node.snapshot().postgres.ready:
        raise RequestError(503, "postgres does not accept connections")
    return catalog


async def _run(query: Awaitable[T], failed: str) -> T:
    """Await a query; the message of its error begins with *failed*."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await query
    except TimeoutError:
        raise RequestError(504, f"{failed}: no answer within {DEADLINE_S:g} s") from None
    except RequestError:
        raise
    except ComputeError as error:
        raise RequestError(500, f"{failed}: {error}", hint=error.hint) from error
