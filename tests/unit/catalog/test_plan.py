"""What is planned for which catalog, and what is never planned."""

import re
from dataclasses import replace
from typing import Any

import pytest

from compute_ctl.catalog.model import Catalog, CatalogDatabase, CatalogRole, Phase, Statement
from compute_ctl.catalog.plan import PRIVILEGED_ROLE, plan
from compute_ctl.errors import CatalogError
from tests.unit.catalog.desired import desired

SCRAM = "SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5"
MD5 = "0123456789abcdef0123456789abcdef"


def catalog(
    *, roles: dict[str, str | None] | None = None, databases: dict[str, str] | None = None
) -> Catalog:
    """A catalog with these roles (and passwords) and databases (and owners)."""
    all_roles = {"postgres": None, PRIVILEGED_ROLE: None, **(roles or {})}
    all_databases = {"postgres": "postgres", **(databases or {})}
    return Catalog(
        roles={
            name: CatalogRole(name=name, encrypted_password=password)
            for name, password in all_roles.items()
        },
        databases={
            name: CatalogDatabase(name=name, owner=owner) for name, owner in all_databases.items()
        },
    )


def planned(phases: tuple[Phase, ...], name: str) -> list[Statement]:
    """All statements of the phase *name*."""
    found = [work for phase in phases if phase.name == name for work in phase.work]
    return [statement for work in found for statement in work.statements]


def statements(phases: tuple[Phase, ...], name: str) -> list[str]:
    """The SQL of the phase *name*, each statement on one line."""
    return [" ".join(one.sql.split()) for one in planned(phases, name)]


def test_privileged_role_is_made_where_it_is_missing() -> None:
    """The role that all others join comes first, and only once."""
    there = ("postgres", "pg_read_all_data", "pg_write_all_data")
    empty = replace(catalog(), roles={name: CatalogRole(name=name) for name in there})
    expected = [
        'CREATE ROLE "neon_superuser" CREATEDB CREATEROLE NOLOGIN REPLICATION BYPASSRLS'
        " IN ROLE pg_read_all_data, pg_write_all_data"
    ]
    assert expected == statements(plan(desired(), empty), "privileged role")
    expected = [expected[0].replace(" REPLICATION", "")]
    found = plan(desired(), empty, may_replicate=False)
    assert expected == statements(found, "privileged role")
    old = replace(catalog(), roles={"postgres": CatalogRole(name="postgres")})
    expected = ['CREATE ROLE "neon_superuser" CREATEDB CREATEROLE NOLOGIN REPLICATION BYPASSRLS']
    assert expected == statements(plan(desired(), old), "privileged role")
    assert [] == statements(plan(desired(), catalog()), "privileged role")


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (
            {"name": "a", "encrypted_password": SCRAM},
            'CREATE ROLE "a" INHERIT CREATEROLE CREATEDB BYPASSRLS REPLICATION'
            f" IN ROLE \"neon_superuser\" LOGIN PASSWORD '{SCRAM}'",
        ),
        (
            {"name": 'q"', "encrypted_password": MD5},
            'CREATE ROLE "q""" INHERIT CREATEROLE CREATEDB BYPASSRLS REPLICATION'
            f" IN ROLE \"neon_superuser\" LOGIN PASSWORD 'md5{MD5}'",
        ),
        (
            {
                "name": "b",
                "options": [
                    {"name": "NOLOGIN", "vartype": "bool"},
                    {"name": "NOCREATEDB", "vartype": "bool"},
                    {"name": "VALID UNTIL", "value": "2030-01-01", "vartype": "string"},
                ],
            },
            'CREATE ROLE "b" INHERIT CREATEROLE BYPASSRLS REPLICATION IN ROLE "neon_superuser"'
            " NOLOGIN NOCREATEDB VALID UNTIL '2030-01-01' PASSWORD NULL",
        ),
    ],
)
def test_new_role(role: dict[str, Any], expected: str) -> None:
    """A new role has the usual privileges, unless its options say otherwise."""
    assert [expected] == statements(plan(desired(roles=[role]), catalog()), "roles")


def test_role_of_local_proxy_is_plain() -> None:
    """A role that a key set of local_proxy names gets no privileges."""
    key = {"id": "1", "role_names": ["web"], "jwks_url": "https://x", "provider_name": "p"}
    target = desired(roles=[{"name": "web"}], local_proxy_config={"jwks": [key]})
    expected = ['CREATE ROLE "web" LOGIN PASSWORD NULL']
    assert expected == statements(plan(target, catalog()), "roles")


@pytest.mark.parametrize(
    ("kept", "given", "changes"),
    [
        (SCRAM, SCRAM, False),
        (f"md5{MD5}", MD5, False),
        (f"md5{MD5}", f"md5{MD5}", False),
        (None, None, False),
        (None, SCRAM, True),
        (SCRAM, None, True),
        (SCRAM, MD5, True),
    ],
)
def test_role_is_altered_only_for_its_password(
    kept: str | None, given: str | None, changes: bool
) -> None:
    """Passwords are compared as the server keeps them; options alone change nothing."""
    options = [{"name": "CONNECTION LIMIT", "value": "3", "vartype": "integer"}]
    target = desired(roles=[{"name": "r", "encrypted_password": given, "options": options}])
    found = statements(plan(target, catalog(roles={"r": kept})), "roles")
    assert changes == bool(found)
    assert all(one.startswith('ALTER ROLE "r" CONNECTION LIMIT 3 LOGIN PASSWORD') for one in found)


@pytest.mark.parametrize(
    "option",
    [
        {"name": "LOGIN; DROP ROLE x", "vartype": "bool"},
        {"name": "PASSWORD", "value": "x", "vartype": "string"},
        {"name": "CONNECTION LIMIT", "value": "1 SUPERUSER", "vartype": "integer"},
        {"name": "VALID UNTIL", "value": "'now' SUPERUSER 'x'", "vartype": "enum"},
    ],
)
def test_option_cannot_say_more(option: dict[str, Any]) -> None:
    """An option that could carry another statement or a password is refused."""
    with pytest.raises(CatalogError, match='role "r"'):
        plan(desired(roles=[{"name": "r", "options": [option]}]), catalog())


def test_new_database() -> None:
    """A new database gets its options and owner, and the privileged role all rights on it."""
    options = [
        {"name": "LC_COLLATE", "value": "C", "vartype": "string"},
        {"name": "TEMPLATE", "value": "template0", "vartype": "enum"},
        {"name": "OWNER", "value": "somebody", "vartype": "enum"},
    ]
    target = desired(databases=[{"name": "d", "owner": "o", "options": options}])
    expected = [
        'CREATE DATABASE "d" LC_COLLATE \'C\' TEMPLATE template0 OWNER "o"',
        'GRANT ALL PRIVILEGES ON DATABASE "d" TO "neon_superuser"',
    ]
    assert expected == statements(plan(target, catalog()), "databases")


def test_existing_database_gets_its_owner() -> None:
    """Of an existing database only a wrong owner is changed."""
    target = desired(databases=[{"name": "d", "owner": "o"}])
    right = plan(target, catalog(databases={"d": "o"}))
    wrong = plan(target, catalog(databases={"d": "x"}))
    assert [] == statements(right, "databases")
    assert ['ALTER DATABASE "d" OWNER TO "o"'] == statements(wrong, "databases")


def rename(kind: str, old: str, new: str) -> dict[str, str]:
    """A rename as a delta operation."""
    return {"action": f"rename_{kind}", "name": old, "new_name": new}


def test_rename_role_is_done_where_it_is_there() -> None:
    """A role that exists is renamed; one that was, is left alone; one that never was, too."""
    target = desired(
        roles=[{"name": "new", "encrypted_password": SCRAM}], deltas=[rename("role", "old", "new")]
    )
    expected = ['ALTER ROLE "old" RENAME TO "new"']
    before = plan(target, catalog(roles={"old": SCRAM}))
    assert (expected, []) == (statements(before, "role renames"), statements(before, "roles"))
    after = plan(target, catalog(roles={"new": SCRAM}))
    assert ([], []) == (statements(after, "role renames"), statements(after, "roles"))
    assert [] == statements(plan(target, catalog()), "role renames")


def test_rename_loses_an_md5_password() -> None:
    """The server drops an md5 password at a rename, so it is set anew."""
    target = desired(
        roles=[{"name": "new", "encrypted_password": MD5}], deltas=[rename("role", "old", "new")]
    )
    found = statements(plan(target, catalog(roles={"old": f"md5{MD5}"})), "roles")
    assert [f"ALTER ROLE \"new\" LOGIN PASSWORD 'md5{MD5}'"] == found


def test_rename_keeps_databases_with_their_owner() -> None:
    """A database whose owner was renamed needs no new owner."""
    target = desired(
        databases=[{"name": "d", "owner": "new"}], deltas=[rename("role", "old", "new")]
    )
    found = plan(target, catalog(roles={"old": None}, databases={"d": "old"}))
    assert [] == statements(found, "databases")


@pytest.mark.parametrize("kind", ["role", "db"])
def test_rename_onto_another(kind: str) -> None:
    """Nothing is renamed to a name that is taken."""
    there = catalog(roles={"a": None, "b": None}, databases={"a": "a", "b": "b"})
    with pytest.raises(CatalogError, match=r'could not rename .* "a": "b" exists'):
        plan(desired(deltas=[rename(kind, "a", "b")]), there)


def test_drop_database_needs_no_subscription() -> None:
    """Subscriptions of a database go first, in a phase of their own; then its template mark."""
    there = catalog(databases={"d": "o"})
    there = replace(
        there, databases={**there.databases, "d": replace(there.databases["d"], is_template=True)}
    )
    found = plan(desired(deltas=[{"action": "delete_db", "name": "d"}]), there)
    assert ("subscriptions", "d") == (found[0].name, found[0].work[0].database)
    assert [
        'ALTER DATABASE "d" IS_TEMPLATE false',
        'DROP DATABASE IF EXISTS "d" WITH (FORCE)',
    ] == statements(found, "database renames and drops")


@pytest.mark.parametrize(
    "delta",
    [
        {"action": "delete_db", "name": "postgres"},
        rename("db", "postgres", "other"),
        {"action": "delete_role", "name": "postgres"},
        {"action": "delete_role", "name": PRIVILEGED_ROLE},
    ],
)
def test_what_the_daemon_needs_stays(delta: dict[str, str]) -> None:
    """The daemon's own role and database cannot be taken away."""
    with pytest.raises(CatalogError, match="the daemon needs it"):
        plan(desired(deltas=[delta]), catalog())


def test_drop_role_gives_away_in_every_database() -> None:
    """What the role owns goes to the owner of its database, or to us where that is the role."""
    there = catalog(roles={"r": None, "o": None}, databases={"d": "o", "of_r": "r"})
    closed = replace(there.databases["d"], name="closed", restrict_conn=True)
    there = replace(there, databases={**there.databases, "closed": closed})
    found = plan(desired(deltas=[{"action": "delete_role", "name": "r"}]), there)
    inside = next(phase for phase in found if phase.name == "inside databases")
    heirs = {
        work.database: re.findall(r'TO ("\w+")', step.sql)
        for work in inside.work
        for step in work.statements
        if step.sql.startswith("REASSIGN")
    }
    assert {"d": ['"o"'], "of_r": ['"postgres"'], "postgres": ['"postgres"']} == heirs
    assert ['DROP ROLE IF EXISTS "r"'] == statements(found, "role drops")


def test_extensions_only_where_the_server_has_them() -> None:
    """An extension that is named but not installed costs nothing."""
    preload = {"name": "shared_preload_libraries", "value": "neon, pg_stat_statements"}
    target = desired(cluster={"settings": [preload]})
    assert ("pg_stat_statements", "neon") == target.extensions
    assert [] == statements(plan(target, catalog()), "extensions")
    has = replace(catalog(), available_extensions=frozenset({"pg_stat_statements"}))
    expected = ['CREATE EXTENSION IF NOT EXISTS "pg_stat_statements" WITH SCHEMA public']
    assert expected == statements(plan(target, has), "extensions")


def test_subscriptions_go_once_a_timeline() -> None:
    """They are dropped where the record is of another timeline."""
    target = desired(drop_subscriptions_before_start=True, timeline_id="aB" * 16)
    assert planned(plan(target, catalog()), "subscriptions done")
    done = replace(catalog(), subscriptions_dropped_for="ab" * 16)
    assert [] == planned(plan(target, done), "subscriptions done")


def test_passwords_are_not_shown() -> None:
    """Nothing that is printed of a plan holds a verifier."""
    shown = repr(plan(desired(roles=[{"name": "r", "encrypted_password": SCRAM}]), catalog()))
    assert (False, True) == ("SCRAM" in shown, "create role" in shown)
