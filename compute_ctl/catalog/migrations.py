"""Neon's migrations of a cluster's catalog: privileges that older roles lack.

The cluster records the last one in ``neon_migration.migration_id``, as Neon's compute_ctl does, so
either program skips what the other has done. Each migration commits together with its number, so
it takes effect once; the first that fails ends the run.

Numbers and effects are Neon's (compute_tools/src/migrations); 5 to 9 do nothing any more.
Blocking, so it needs a thread of its own.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Final

from compute_common.redact import redact
from compute_ctl.catalog.sessions import OWN_ADMIN, open_session
from compute_ctl.errors import MigrationError, ProbeError
from compute_ctl.sql.quoting import literal
from compute_ctl.sql.session import PgSession

logger = logging.getLogger(__name__)

_BYPASS_RLS: Final = """\
SELECT format('ALTER ROLE %I BYPASSRLS', rolname) FROM pg_roles
WHERE rolname = {role} AND NOT rolbypassrls"""

_ALTER_ROLES: Final = f"""\
SELECT format('ALTER ROLE %I INHERIT', rolname) FROM pg_roles
WHERE pg_has_role(oid, {{role}}, 'member') AND NOT rolinherit AND NOT rolsuper
UNION ALL
SELECT format('ALTER ROLE %I NOBYPASSRLS', rolname) FROM pg_roles
WHERE NOT pg_has_role(oid, {{role}}, 'member') AND rolbypassrls AND NOT starts_with(rolname, 'pg_')
    AND EXISTS (SELECT FROM pg_roles WHERE oid = 10 AND rolname = '{OWN_ADMIN}')"""  # noqa: S608 (a constant)
"""The second part is for Neon's clusters only (10 is the role that initdb created): in others,
roles that no document created are not ours to change."""

_MEMBERSHIP: Final = """\
SELECT format('GRANT %I TO %I{option}', rolname, {{role}}) FROM pg_roles
WHERE rolname = '{predefined}'"""

_EXECUTE: Final = """\
SELECT format('GRANT EXECUTE ON FUNCTION pg_catalog.%I(%s) TO %I', proname,
              pg_get_function_identity_arguments(pg_proc.oid), {{role}})
FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname IN ({functions})
    AND current_setting('server_version_num')::int >= {since}"""

MIGRATIONS: Final[tuple[str | None, ...]] = (
    _BYPASS_RLS,
    _ALTER_ROLES,
    _MEMBERSHIP.format(predefined="pg_create_subscription", option=""),
    _MEMBERSHIP.format(predefined="pg_monitor", option=" WITH ADMIN OPTION"),
    *(None,) * 5,
    _EXECUTE.format(functions="'pg_export_snapshot', 'pg_log_standby_snapshot'", since=160000),
    _EXECUTE.format(functions="'pg_show_replication_origin_status'", since=0),
    _MEMBERSHIP.format(predefined="pg_signal_backend", option=" WITH ADMIN OPTION"),
)
"""Queries that return the statements to run, if any. The first has number 1."""

_SERVER: Final = """\
SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_roles WHERE rolname = {role}),
       to_regclass('neon_migration.migration_id') IS NOT NULL"""
_PREPARE: Final = """\
CREATE SCHEMA IF NOT EXISTS neon_migration;
REVOKE ALL ON SCHEMA neon_migration FROM PUBLIC;
CREATE TABLE IF NOT EXISTS neon_migration.migration_id
    (key int NOT NULL PRIMARY KEY, id bigint NOT NULL DEFAULT 0);
INSERT INTO neon_migration.migration_id VALUES (0, 0) ON CONFLICT DO NOTHING"""
_REACHED: Final = "SELECT id FROM neon_migration.migration_id WHERE key = 0"


def migrate(connstr: str, *, deadline: float, privileged: str) -> int:
    """Run the migrations that the cluster lacks; return how many. Ends by *deadline*.

    None run on a standby, or without role *privileged*, which they are about.

    Raises:
        MigrationError: one failed, or the server did not answer; earlier ones are kept.
    """
    number = 0
    try:
        with closing(open_session(connstr, deadline)) as session:
            reached = _reached(session, privileged)
            if reached is None:
                return 0
            for number in range(reached + 1, len(MIGRATIONS) + 1):
                _run(session, number, privileged)
            return max(len(MIGRATIONS) - reached, 0)
    except ProbeError as error:
        what = f"migration {number}" if number else "the migrations"
        text = redact(f"could not run {what}: {error}")
        raise MigrationError(text, number=number or None) from None


def _reached(session: PgSession, privileged: str) -> int | None:
    """Return the number of the cluster's last migration, None if none may run."""
    ((standby, has_role, prepared),) = session.query(_SERVER.format(role=literal(privileged)))
    if standby == "t" or has_role != "t":
        return None
    found = session.value(_REACHED) if prepared == "t" else None
    if found is None:
        session.query(_PREPARE)
        found = session.value(_REACHED)
    if found is None or not found.isdecimal():
        text = f'record "neon_migration.migration_id" is damaged: id "{found}"'
        raise MigrationError(text, number=None)
    return int(found)


def _run(session: PgSession, number: int, privileged: str) -> None:
    query = MIGRATIONS[number - 1]
    rows = [] if query is None else session.query(query.format(role=literal(privileged)))
    statements = [statement or "" for (statement,) in rows]
    statements.append(f"UPDATE neon_migration.migration_id SET id = {number} WHERE key = 0")  # noqa: S608 (a number)
    session.query(";\n".join(statements))  # one transaction
    logger.info("migration %d is done", number)
