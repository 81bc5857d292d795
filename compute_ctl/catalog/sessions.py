"""Opens sessions for catalog work, and reads the catalog.

Besides the options of all sessions of the daemon, these keep statements with password verifiers
out of the server's log and statistics.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compute_ctl.catalog.model import Catalog, CatalogDatabase, CatalogRole
from compute_ctl.sql.session import PgSession

APPLICATION: Final = "compute_ctl:apply_config"
OWN_ADMIN: Final = "cloud_admin"
"""If this superuser exists, it owns what is created, whoever connects."""

OPTIONS: Final = {
    "role": "none",
    "log_statement": "none",
    "log_duration": "off",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_min_error_statement": "panic",
    "pg_stat_statements.track": "none",
    "pgaudit.log": "none",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}

_ACT_AS_ADMIN: Final = f"""\
SELECT set_config('role', rolname, false) FROM pg_roles
WHERE rolname = '{OWN_ADMIN}' AND rolsuper AND rolname <> current_user"""  # noqa: S608 (a constant)
_FORWARD_NOTHING: Final = (
    "SELECT set_config(name, 'false', false) FROM pg_settings WHERE name = 'neon.forward_ddl'"
)
"""The control plane need not be told: the document came from it."""
_ROLES: Final = "SELECT rolname, rolpassword FROM pg_authid ORDER BY rolname"
_DATABASES: Final = """\
SELECT datname, pg_get_userbyid(datdba), NOT datallowconn, datconnlimit = -2, datistemplate
FROM pg_database ORDER BY datname"""
_SERVER: Final = """\
SELECT current_database(), current_user, pg_is_in_recovery(),
       to_regclass('neon.drop_subscriptions_done') IS NOT NULL"""
_EXTENSIONS: Final = "SELECT name FROM pg_available_extensions"
_DROPPED_FOR: Final = "SELECT timeline_id FROM neon.drop_subscriptions_done LIMIT 1"


def open_session(connstr: str, deadline: float, *, dbname: str | None = None) -> PgSession:
    """Return a connected session that acts as the daemon's superuser.

    Raises:
        ProbeError: not connected by *deadline* (monotonic seconds).
    """
    session = PgSession(
        connstr, deadline, application_name=APPLICATION, dbname=dbname, options=OPTIONS
    )
    try:
        session.connect()
        session.query(_ACT_AS_ADMIN)
        session.query(_FORWARD_NOTHING)
    except BaseException:
        session.close()
        raise
    return session


def read_catalog(session: PgSession) -> Catalog:
    """Return the catalog of the server. Raises ProbeError."""
    ((system, user, in_recovery, has_record),) = session.query(_SERVER)
    roles = [
        CatalogRole(name=name or "", encrypted_password=password)
        for name, password in session.query(_ROLES)
    ]
    databases = [
        CatalogDatabase(
            name=name or "",
            owner=owner or "",
            restrict_conn=restricted == "t",
            invalid=invalid == "t",
            is_template=template == "t",
        )
        for name, owner, restricted, invalid, template in session.query(_DATABASES)
    ]
    return Catalog(
        roles={role.name: role for role in roles},
        databases={database.name: database for database in databases},
        system_database=system or "",
        superuser=user or "",
        in_recovery=in_recovery == "t",
        subscriptions_dropped_for=session.value(_DROPPED_FOR) if has_record == "t" else None,
    )


def with_extensions(session: PgSession, catalog: Catalog) -> Catalog:
    """Return *catalog* with its available extensions. Raises ProbeError."""
    names = frozenset(name or "" for (name,) in session.query(_EXTENSIONS))
    return replace(catalog, available_extensions=names)
