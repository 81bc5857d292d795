"""The queries behind the HTTP routes that need SQL.

Each query has its own connection, in a thread, for at most ten seconds. Only a few run at once, so
that callers of the API cannot use up the connection slots.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Final, TypeVar

import msgspec

from compute_common.errors import RequestError
from compute_common.system.blocking_worker import in_thread
from compute_ctl.catalog.pg_dump import PgDump
from compute_ctl.catalog.sessions import open_session, read_catalog
from compute_ctl.catalog.statements import HEALTH_CHECK
from compute_ctl.errors import CatalogError, ProbeError, SqlError
from compute_ctl.sql.quoting import check_object_name, identifier, literal
from compute_ctl.sql.session import PgSession

QUERY_S: Final = 10.0
INSTALL_S: Final = 60.0
AT_ONCE: Final = 4
NO_DATABASE: Final = "database does not exist"
PRIVILEGES: Final = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
    | {"USAGE", "CREATE", "CONNECT", "TEMPORARY", "EXECUTE"}
)

_UNDEFINED_TABLE: Final = "42P01"
_DISK_FULL: Final = "53100"

_WRITE: Final = """\
INSERT INTO public.health_check VALUES (1, now())
ON CONFLICT (id) DO UPDATE SET updated_at = now()"""
_STATEMENTS_IN: Final = """\
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'pg_stat_statements'"""
_STATEMENTS: Final = """\
SELECT to_json(one) FROM {schema}.pg_stat_statements AS one
WHERE userid <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
ORDER BY total_exec_time DESC LIMIT 100"""
_DATABASE: Final = "SELECT FROM pg_database WHERE datname = {name}"
_INSTALLED: Final = "SELECT FROM pg_extension WHERE extname = {name}"
_GRANTED: Final = """\
SELECT privilege_type
FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
WHERE nspname = {schema} AND grantee = to_regrole({role})"""

T = TypeVar("T")


class CatalogQueries:
    """Queries one server. Raises ComputeError, or RequestError to choose the status."""

    def __init__(self, connstr: str, *, pg_dump: PgDump) -> None:
        """*connstr* is a superuser's."""
        self._connstr = connstr
        self._pg_dump = pg_dump
        self._free = asyncio.Semaphore(AT_ONCE)

    async def dbs_and_roles(self) -> Mapping[str, object]:
        """Return all `roles`, with their password verifiers, and all `databases`."""
        catalog = await self._query(read_catalog)
        return {
            "roles": [
                {
                    "name": role.name,
                    "encrypted_password": role.encrypted_password,
                    "options": None,
                }
                for role in catalog.roles.values()
            ],
            "databases": [
                {
                    "name": database.name,
                    "owner": database.owner,
                    "options": None,
                    "restrict_conn": database.restrict_conn,
                    "invalid": database.invalid,
                }
                for database in catalog.databases.values()
            ],
        }

    async def check_writability(self) -> None:
        """Write a row. A full disk is not an error: the user has reached a limit."""
        await self._query(_write)

    async def insights(self) -> Mapping[str, object]:
        """Return the hundred slowest statements as `pg_stat_statements`."""
        return await self._query(_insights)

    async def database_schema(self, database: str) -> AsyncGenerator[bytes, None]:
        """Yield the schema of *database* as SQL; most errors come before the first piece."""
        catalog = await self._query(read_catalog)
        known = catalog.databases.get(database)
        if known is None or not known.usable:
            raise RequestError(404, NO_DATABASE)
        async with aclosing(self._pg_dump.schema(database)) as pieces:
            async for piece in pieces:
                yield piece

    async def install_extension(self, *, extension: str, database: str, version: str) -> None:
        """Create the extension in *database*, or update it to *version*."""
        _check(extension=extension, database=database)
        await self._query(
            lambda session: _install(session, extension, version),
            database=database,
            within_s=INSTALL_S,
        )

    async def grant(
        self, *, database: str, schema: str, role: str, privileges: Sequence[str]
    ) -> None:
        """Grant the privileges on *schema* that *role* lacks; write nothing if it has all."""
        _check(database=database, schema=schema, role=role)
        unknown = sorted(set(privileges) - PRIVILEGES)
        if unknown:
            raise RequestError(422, f'unknown privilege "{unknown[0][:40]}"')
        await self._query(
            lambda session: _grant(session, schema, role, privileges), database=database
        )

    async def _query(
        self,
        query: Callable[[PgSession], T],
        *,
        database: str | None = None,
        within_s: float = QUERY_S,
    ) -> T:
        """Return the result of *query*. Raises ProbeError, RequestError."""
        deadline = time.monotonic() + within_s

        def run() -> T:
            with closing(self._open(deadline, database)) as session:
                return query(session)

        if self._free.locked():
            raise RequestError(503, "too many queries at once")
        async with self._free:
            try:
                return await in_thread(run, name="catalog query", within_s=within_s)
            except TimeoutError as error:
                raise ProbeError(f"postgres did not answer within {within_s:g} s") from error

    def _open(self, deadline: float, database: str | None) -> PgSession:
        try:
            return open_session(self._connstr, deadline, dbname=database)
        except ProbeError:
            if database is None:
                raise
        # libpq gives the reason of a refused connection only as text.
        with closing(open_session(self._connstr, deadline)) as session:
            if not session.query(_DATABASE.format(name=literal(database))):
                raise RequestError(404, NO_DATABASE)
        return open_session(self._connstr, deadline, dbname=database)


def _check(**names: str) -> None:
    for what, name in names.items():
        try:
            check_object_name(name, what)
        except CatalogError as error:
            raise RequestError(422, str(error)) from error


def _write(session: PgSession) -> None:
    try:
        try:
            session.query(_WRITE)
        except SqlError as error:
            if error.sqlstate != _UNDEFINED_TABLE:
                raise
            for (statement,) in session.query(HEALTH_CHECK):
                session.query(statement or "")
    except SqlError as error:
        if error.sqlstate != _DISK_FULL:
            raise


def _insights(session: PgSession) -> Mapping[str, object]:
    found = session.query(_STATEMENTS_IN)
    rows = session.query(_STATEMENTS.format(schema=found[0][0])) if found else []
    return {"pg_stat_statements": [msgspec.json.decode(row or "{}") for (row,) in rows]}


def _install(session: PgSession, extension: str, version: str) -> None:
    name = identifier(extension)
    if session.query(_INSTALLED.format(name=literal(extension))):
        session.query(f"ALTER EXTENSION {name} UPDATE TO {literal(version)}")
    else:
        session.query(
            f"CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA public VERSION {literal(version)}"
        )


def _grant(session: PgSession, schema: str, role: str, privileges: Sequence[str]) -> None:
    rows = session.query(_GRANTED.format(schema=literal(schema), role=literal(identifier(role))))
    missing = [one for one in dict.fromkeys(privileges) if (one,) not in rows]
    if missing:
        session.query(
            f"GRANT {', '.join(missing)} ON SCHEMA {identifier(schema)} TO {identifier(role)}"
        )
