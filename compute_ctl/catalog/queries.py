"""Answers what callers of the API ask of the running server over SQL.

Each question has a connection of its own, in a thread, for ten seconds at most. Few are answered at
once, so that callers cannot use up the connection slots.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from compute_ctl.catalog.pg_dump import PgDump
from compute_ctl.catalog.sessions import open_session, read_catalog
from compute_ctl.catalog.statements import HEALTH_CHECK
from compute_ctl.errors import CatalogError, ProbeError, RequestError, SqlError
from compute_ctl.sql.quoting import check_object_name, identifier, literal
from compute_ctl.sql.session import PgSession
from compute_ctl.system.blocking_worker import in_thread

ANSWER_S: Final = 10.0
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
    """One server, asked; raises ComputeError, as RequestError where the status matters."""

    def __init__(self, connstr: str, *, pg_dump: Path | str) -> None:
        """*connstr* is a superuser's; *pg_dump* is a program of the server's major version."""
        self._connstr = connstr
        self._dump = PgDump(connstr, program=pg_dump)
        self._free = asyncio.Semaphore(AT_ONCE)

    async def dbs_and_roles(self) -> Mapping[str, object]:
        """Return all `roles` and `databases`; the roles with their password verifiers."""
        catalog = await self._ask(read_catalog)
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
        """Write a row; a disk that is full is no error: that is a limit the user has reached."""
        await self._ask(_write)

    async def insights(self) -> Mapping[str, object]:
        """Return the hundred statements that took longest as `pg_stat_statements`."""
        return await self._ask(_insights)

    async def database_schema(self, database: str) -> AsyncGenerator[bytes, None]:
        """Yield the schema of *database* as SQL; what is wrong comes before the first piece."""
        catalog = await self._ask(read_catalog)
        known = catalog.databases.get(database)
        if known is None or not known.usable:
            raise RequestError(404, NO_DATABASE)
        async with aclosing(self._dump.schema(database)) as pieces:
            async for piece in pieces:
                yield piece

    async def install_extension(self, *, extension: str, database: str, version: str) -> None:
        """Make the extension in *database*, or bring it to *version*."""
        _check(extension=extension, database=database)
        await self._ask(
            lambda session: _install(session, extension, version),
            database=database,
            within_s=INSTALL_S,
        )

    async def grant(
        self, *, database: str, schema: str, role: str, privileges: Sequence[str]
    ) -> None:
        """Grant what *role* does not have yet on *schema*; nothing is written for nothing."""
        _check(database=database, schema=schema, role=role)
        unknown = sorted(set(privileges) - PRIVILEGES)
        if unknown:
            raise RequestError(422, f'unknown privilege "{unknown[0][:40]}"')
        await self._ask(
            lambda session: _grant(session, schema, role, privileges), database=database
        )

    async def _ask(
        self,
        question: Callable[[PgSession], T],
        *,
        database: str | None = None,
        within_s: float = ANSWER_S,
    ) -> T:
        """Return the answer to *question*. Raises ProbeError, RequestError."""
        deadline = time.monotonic() + within_s

        def ask() -> T:
            session = self._open(deadline, database)
            try:
                return question(session)
            finally:
                session.close()

        if self._free.locked():
            raise RequestError(503, "too many questions to postgres at once")
        async with self._free:
            try:
                return await in_thread(ask, name="desk", within_s=within_s)
            except TimeoutError as error:
                raise ProbeError(f"postgres did not answer within {within_s:g} s") from error

    def _open(self, deadline: float, database: str | None) -> PgSession:
        try:
            return open_session(self._connstr, deadline, dbname=database)
        except ProbeError:
            if database is None:
                raise
            session = open_session(self._connstr, deadline)
        # libpq does not tell why a connection was refused, except in prose.
        try:
            if not session.query(_DATABASE.format(name=literal(database))):
                raise RequestError(404, NO_DATABASE)
        finally:
            session.close()
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
        if error.sqlstate != _DISK_FULL:  # a limit that the user reached is no trouble of ours
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
