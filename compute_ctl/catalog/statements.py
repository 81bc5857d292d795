"""The SQL of catalog work. Pure.

A text marked "Expanded" is a query that returns further statements, one per row, built by the
server's own `format` (like psql's \\gexec), because only the server knows the objects concerned.
All names are qualified, since the session's search_path is pg_catalog alone.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

from compute_common.document.spec import Database, GenericOption, Role
from compute_common.text import printable
from compute_ctl.errors import CatalogError
from compute_ctl.sql.quoting import identifier, literal

NEW_ROLE: Final = ("INHERIT", "CREATEROLE", "CREATEDB", "BYPASSRLS", "REPLICATION")
"""Attributes of a new role, unless its options say otherwise."""

_SCRAM: Final = "SCRAM-SHA-256"
_MD5: Final = re.compile(r"md5[0-9a-f]{32}")
_OPTION: Final = re.compile(r"[A-Za-z_]+(?: [A-Za-z_]+)*")
_RAW: Final = re.compile(r"""[A-Za-z0-9_.@+-]+|'(?:[^'\\]|'')*'|"(?:[^"]|"")*\"""")


def stored_password(role: Role) -> str | None:
    """Return the password of *role* as the server stores it."""
    given = role.encrypted_password
    if given is None or given.startswith(_SCRAM) or _MD5.fullmatch(given):
        return given
    return f"md5{given}"


def create_role(role: Role, *, privileged: str | None) -> str:
    """Return the statement that creates *role*, as a member of *privileged* if that is set."""
    options = _options(role.options, f'role "{role.name}"')
    said = {_attribute(option) for option in options}
    parts = []
    if privileged is not None:
        parts += [flag for flag in NEW_ROLE if flag not in said]
        parts.append(f"IN ROLE {identifier(privileged)}")
    return f"CREATE ROLE {identifier(role.name)} {_role_tail(role, parts)}"


def create_privileged_role(name: str, *, may_replicate: bool, known: Container[str]) -> str:
    """Return the statement that creates the role that all others join; *known* roles exist."""
    replication = " REPLICATION" if may_replicate else ""
    statement = f"CREATE ROLE {identifier(name)} CREATEDB CREATEROLE NOLOGIN{replication} BYPASSRLS"
    # PostgreSQL 13 has no such roles.
    joins = [role for role in ("pg_read_all_data", "pg_write_all_data") if role in known]
    return f"{statement} IN ROLE {', '.join(joins)}" if joins else statement


def alter_role(role: Role) -> str:
    """Return the statement that sets options and password of an existing *role*."""
    return f"ALTER ROLE {identifier(role.name)} {_role_tail(role, [])}"


def _role_tail(role: Role, parts: list[str]) -> str:
    options = _options(role.options, f'role "{role.name}"')
    parts = parts + options
    if not any(_attribute(option) == "LOGIN" for option in options):
        parts.append("LOGIN")
    password = stored_password(role)
    parts.append(f"PASSWORD {'NULL' if password is None else literal(password)}")
    return " ".join(parts)


def _attribute(option: str) -> str:
    """Return the attribute that *option* switches on or off."""
    return option.split(" ", maxsplit=1)[0].upper().removeprefix("NO")


def create_database(database: Database) -> str:
    """Return the statement that creates *database*."""
    options = [
        option
        for option in _options(database.options, f'database "{database.name}"')
        if _attribute(option) != "OWNER"
    ]
    parts = [*options, f"OWNER {identifier(database.owner)}"]
    return f"CREATE DATABASE {identifier(database.name)} {' '.join(parts)}"


def _options(options: tuple[GenericOption, ...] | None, what: str) -> list[str]:
    """Return *options* as they stand in a statement.

    Raises:
        CatalogError: one could end the statement and begin another.
    """
    return [_option(option, what) for option in options or ()]


def _option(option: GenericOption, what: str) -> str:
    name, value = option.name, option.value
    if _OPTION.fullmatch(name) is None or _attribute(name) in ("PASSWORD", "ENCRYPTED"):
        raise CatalogError(f'{what} has an option "{printable(name)}", which is not allowed')
    if value is None:
        return name
    if option.vartype == "string":
        return f"{name} {literal(value)}"
    if _RAW.fullmatch(value) is None:
        raise CatalogError(f'{what}: the value of option "{name}" is not a valid {option.vartype}')
    return f"{name} {value}"


DROP_SUBSCRIPTIONS: Final = """\
SELECT format(
    'ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE); '
    'DROP SUBSCRIPTION %1$I', subname)
FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""
"""Expanded. Without its slot, a subscription can be dropped even if its publisher is gone."""

END_SESSIONS: Final = """\
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = {database} AND pid <> pg_backend_pid()"""

REVOKE_FOREIGN_GRANTS: Final = """\
SELECT format('SET LOCAL ROLE %I; REVOKE ALL ON %s %s FROM %I CASCADE',
              pg_get_userbyid(acl.grantor), one.kind, one.name, {role})
FROM (
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text,
           relowner, relacl
    FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'TABLE', attrelid::regclass::text, relowner, attacl
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    UNION ALL
    SELECT 'SCHEMA', quote_ident(nspname), nspowner, nspacl FROM pg_namespace
    UNION ALL
    SELECT 'ROUTINE', oid::regprocedure::text, proowner, proacl FROM pg_proc
    UNION ALL
    SELECT 'TYPE', oid::regtype::text, typowner, typacl FROM pg_type
    UNION ALL
    SELECT 'LANGUAGE', quote_ident(lanname), lanowner, lanacl FROM pg_language
    UNION ALL
    SELECT 'DATABASE', quote_ident(datname), datdba, datacl FROM pg_database
    WHERE datname = current_database()
) AS one (kind, name, owner, acl), aclexplode(one.acl) AS acl
WHERE acl.grantee = to_regrole({quoted}) AND acl.grantor <> one.owner
GROUP BY 1"""
"""Expanded. DROP OWNED revokes what the owner granted, but not what others granted further."""

REASSIGN_OWNED: Final = "REASSIGN OWNED BY {role} TO {to}; DROP OWNED BY {role}"

OWN_SCHEMA_PUBLIC: Final = """\
SELECT format('ALTER SCHEMA public OWNER TO %I', {owner})
FROM pg_namespace JOIN pg_roles ON pg_roles.oid = nspowner
WHERE nspname = 'public' AND (nspowner = 10 OR rolname IN ('cloud_admin', 'zenith_admin'))
    AND rolname <> {owner}"""
"""Expanded. 10 is the role that initdb created."""

GRANT_WEB_ACCESS: Final = """\
SELECT 'GRANT CREATE ON SCHEMA public TO web_access'
FROM pg_namespace, pg_roles
WHERE nspname = 'public' AND rolname = 'web_access'
    AND current_setting('server_version_num')::int >= 150000"""
"""Expanded."""

DEFAULT_PRIVILEGES: Final = """\
SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON %s TO %I WITH GRANT OPTION',
              kind, {privileged})
FROM pg_namespace, unnest(ARRAY['TABLES', 'SEQUENCES']) AS kind
WHERE nspname = 'public'"""
"""Expanded."""

HEALTH_CHECK: Final = """\
SELECT 'CREATE TABLE IF NOT EXISTS public.health_check '
       '(id serial PRIMARY KEY, updated_at timestamptz DEFAULT now()); '
       'INSERT INTO public.health_check VALUES (1, now()) '
       'ON CONFLICT (id) DO UPDATE SET updated_at = now()'
FROM pg_namespace WHERE nspname = 'public'"""
"""Expanded."""

NEON_EXTENSION: Final = """\
CREATE SCHEMA IF NOT EXISTS neon;
CREATE EXTENSION IF NOT EXISTS neon WITH SCHEMA neon;
UPDATE pg_extension SET extrelocatable = true WHERE extname = 'neon';
ALTER EXTENSION neon SET SCHEMA neon;
ALTER EXTENSION neon UPDATE"""

SUBSCRIPTIONS_DROPPED: Final = """\
CREATE SCHEMA IF NOT EXISTS neon;
CREATE TABLE IF NOT EXISTS neon.drop_subscriptions_done (id int PRIMARY KEY, timeline_id text);
DELETE FROM neon.drop_subscriptions_done;
INSERT INTO neon.drop_subscriptions_done (id, timeline_id) VALUES (1, {timeline})"""
