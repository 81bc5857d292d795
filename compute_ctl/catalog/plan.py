"""Plans the statements that change a catalog to what a document asks for. Pure.

A phase that fails ends the plan, but only after all of its statements were tried. The work of one
phase in different databases may run concurrently. After a failure a new plan is made, which leaves
out what has been done; so every statement may be run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from compute_common.document.spec import DeltaOp
from compute_ctl.catalog import statements as sql
from compute_ctl.catalog.desired import DesiredCatalog
from compute_ctl.catalog.model import Catalog, CatalogRole, Phase, Statement, Work
from compute_ctl.errors import CatalogError
from compute_ctl.sql.quoting import identifier, literal

PRIVILEGED_ROLE: Final = "neon_superuser"


def plan(
    desired: DesiredCatalog,
    catalog: Catalog,
    *,
    privileged: str = PRIVILEGED_ROLE,
    may_replicate: bool = True,
) -> tuple[Phase, ...]:
    """Return the phases that are needed; none if nothing differs.

    All other roles become members of role *privileged*; *may_replicate* is an option of that role.

    Raises:
        CatalogError: the change is impossible or not allowed.
    """
    planner = _Planner(desired, catalog, privileged, may_replicate=may_replicate)
    phases = (
        Phase(name="subscriptions", work=tuple(planner.subscriptions_of_dropped())),
        _single("privileged role", planner.privileged_role()),
        _single("invalid databases", planner.invalid_databases()),
        _single("role renames", planner.rename_roles()),
        _single("roles", planner.make_roles()),
        _single("database renames and drops", planner.rename_and_drop_databases()),
        _single("databases", planner.make_databases()),
        Phase(name="inside databases", work=tuple(planner.inside_databases())),
        _single("extensions", planner.extensions()),
        _single("health check", planner.health_check()),
        _single("role drops", planner.drop_roles()),
        _single("subscriptions done", planner.subscriptions_done()),
    )
    return tuple(phase for phase in phases if any(work.statements for work in phase.work))


def _single(name: str, statements: Iterable[Statement]) -> Phase:
    return Phase(name=name, work=(Work(statements=tuple(statements)),))


class _Planner:
    """Plans one phase after the other, each on the catalog that the earlier ones produce."""

    def __init__(
        self, desired: DesiredCatalog, catalog: Catalog, privileged: str, *, may_replicate: bool
    ) -> None:
        self._may_replicate = may_replicate
        self._desired = desired
        self._catalog = catalog
        self._privileged = privileged
        self._roles = dict(catalog.roles)
        self._databases = dict(catalog.databases)

    def _deltas(self, action: str) -> Iterator[DeltaOp]:
        return (delta for delta in self._desired.deltas if delta.action == action)

    def subscriptions_of_dropped(self) -> Iterator[Work]:
        """Drop subscriptions first: a database that has one cannot be dropped."""
        for delta in self._deltas("delete_db"):
            database = self._databases.get(delta.name)
            if database is not None and database.usable:
                yield Work(database=delta.name, statements=(_drop_subscriptions(delta.name),))

    def privileged_role(self) -> Iterator[Statement]:
        """Create the role that all others are members of."""
        if self._privileged not in self._roles:
            statement = sql.create_privileged_role(
                self._privileged, may_replicate=self._may_replicate, known=self._roles
            )
            yield Statement(label=f'create role "{self._privileged}"', sql=statement)

    def invalid_databases(self) -> Iterator[Statement]:
        """Drop databases left by an interrupted DROP DATABASE."""
        for name, database in list(self._databases.items()):
            if database.invalid:
                yield _drop_database(name)
                del self._databases[name]

    def rename_roles(self) -> Iterator[Statement]:
        """Rename roles; a role that only has its new name has been renamed before."""
        for delta in self._deltas("rename_role"):
            new = delta.new_name or ""
            old = self._roles.get(delta.name)
            if old is None:
                continue
            if new in self._roles:
                raise CatalogError(f'could not rename role "{delta.name}": "{new}" exists')
            yield Statement(
                label=f'rename role "{delta.name}" to "{new}"',
                sql=f"ALTER ROLE {identifier(delta.name)} RENAME TO {identifier(new)}",
            )
            # A rename clears an md5 password, whose salt is the name.
            kept = old.encrypted_password
            forgotten = kept is not None and kept.startswith("md5")
            del self._roles[delta.name]
            self._roles[new] = CatalogRole(name=new, encrypted_password=None if forgotten else kept)
            for name, database in self._databases.items():
                if database.owner == delta.name:
                    self._databases[name] = replace(database, owner=new)

    def make_roles(self) -> Iterator[Statement]:
        """Create missing roles; alter an existing one only if its password differs."""
        for role in self._desired.roles:
            known = self._roles.get(role.name)
            if known is None:
                plain = role.name in self._desired.plain_roles
                statement = sql.create_role(role, privileged=None if plain else self._privileged)
                yield Statement(label=f'create role "{role.name}"', sql=statement)
            elif known.encrypted_password != sql.stored_password(role):
                yield Statement(label=f'alter role "{role.name}"', sql=sql.alter_role(role))

    def rename_and_drop_databases(self) -> Iterator[Statement]:
        """Rename and drop databases in the order of the document."""
        for delta in self._desired.deltas:
            if delta.action == "delete_db" and delta.name in self._databases:
                self._refuse_system(delta.name, "drop")
                yield from self._drop(delta.name)
            elif delta.action == "rename_db" and delta.name in self._databases:
                self._refuse_system(delta.name, "rename")
                yield from self._rename(delta.name, delta.new_name or "")

    def _refuse_system(self, name: str, what: str) -> None:
        if name == self._catalog.system_database:
            raise CatalogError(f'cannot {what} database "{name}": the daemon needs it')

    def _drop(self, name: str) -> Iterator[Statement]:
        database = self._databases.pop(name)
        if database.is_template:
            yield Statement(
                label=f'unmark "{name}" as a template',
                sql=f"ALTER DATABASE {identifier(name)} IS_TEMPLATE false",
            )
        yield _drop_database(name)

    def _rename(self, old: str, new: str) -> Iterator[Statement]:
        if new in self._databases:
            raise CatalogError(f'could not rename database "{old}": "{new}" exists')
        yield Statement(
            label=f'end the sessions of database "{old}"',
            sql=sql.END_SESSIONS.format(database=literal(old)),
        )
        yield Statement(
            label=f'rename database "{old}" to "{new}"',
            sql=f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)}",
        )
        self._databases[new] = replace(self._databases.pop(old), name=new)

    def make_databases(self) -> Iterator[Statement]:
        """Create missing databases; of an existing one only the owner is changed."""
        for database in self._desired.databases:
            known, name = self._databases.get(database.name), identifier(database.name)
            if known is None:
                statement = sql.create_database(database)
                yield Statement(label=f'create database "{database.name}"', sql=statement)
                grant = f"GRANT ALL PRIVILEGES ON DATABASE {name} TO {identifier(self._privileged)}"
                yield Statement(label=f'grant privileges on database "{database.name}"', sql=grant)
            elif known.owner != database.owner:
                yield Statement(
                    label=f'give database "{database.name}" to "{database.owner}"',
                    sql=f"ALTER DATABASE {name} OWNER TO {identifier(database.owner)}",
                )

    def inside_databases(self) -> Iterator[Work]:
        """Work that needs a connection to each database."""
        roles_to_drop = self._roles_to_drop()
        owners = {one.name: one.owner for one in self._databases.values() if one.usable}
        owners |= {
            one.name: one.owner
            for one in self._desired.databases
            if one.name not in self._databases or self._databases[one.name].usable
        }
        ours = {one.name for one in self._desired.databases}
        system = self._catalog.system_database
        for name, owner in owners.items():
            statements = [one for role in roles_to_drop for one in self._forget_role(role, owner)]
            if name in ours and name != system:
                statements += self._schema_permissions(owner)
            if self._drops_subscriptions:
                statements.append(_drop_subscriptions(name))
            if statements:
                yield Work(database=name, statements=tuple(statements))

    def _roles_to_drop(self) -> list[str]:
        """Return the existing roles to drop. Raises CatalogError for the daemon's own roles."""
        for delta in self._deltas("delete_role"):
            if delta.name in (self._catalog.superuser, self._privileged):
                raise CatalogError(f'cannot drop role "{delta.name}": the daemon needs it')
        return [delta.name for delta in self._deltas("delete_role") if delta.name in self._roles]

    def _forget_role(self, role: str, owner: str) -> Iterator[Statement]:
        """Reassign what *role* owns in one database, and revoke what it was granted."""
        new_owner = owner if owner != role else self._catalog.superuser
        name = identifier(role)
        yield Statement(
            label=f'revoke what others granted to role "{role}"',
            sql=sql.REVOKE_FOREIGN_GRANTS.format(role=literal(role), quoted=literal(name)),
            expand=True,
        )
        yield Statement(
            label=f'reassign what role "{role}" owns',
            sql=sql.REASSIGN_OWNED.format(role=name, to=identifier(new_owner)),
        )

    def _schema_permissions(self, owner: str) -> Iterator[Statement]:
        privileged = literal(self._privileged)
        for label, statement in (
            ("give schema public away", sql.OWN_SCHEMA_PUBLIC.format(owner=literal(owner))),
            ("grant schema public to web_access", sql.GRANT_WEB_ACCESS),
            ("default privileges", sql.DEFAULT_PRIVILEGES.format(privileged=privileged)),
        ):
            yield Statement(label=label, sql=statement, expand=True)

    def extensions(self) -> Iterator[Statement]:
        """Create the extensions that are available on the server."""
        for name in self._desired.extensions:
            if name not in self._catalog.available_extensions:
                continue
            statement = f"CREATE EXTENSION IF NOT EXISTS {identifier(name)}"
            if name == "neon":
                statement = sql.NEON_EXTENSION
            elif name == "pg_stat_statements":
                statement += " WITH SCHEMA public"
            yield Statement(label=f'create extension "{name}"', sql=statement)
        if self._desired.audit:
            system = identifier(self._catalog.system_database)
            yield Statement(
                label="do not audit the system database",
                sql=f"ALTER DATABASE {system} SET pgaudit.log TO 'none'",
            )

    def health_check(self) -> Iterator[Statement]:
        """Create the table that `check_writability` writes to."""
        yield Statement(label="create the health check", sql=sql.HEALTH_CHECK, expand=True)

    def drop_roles(self) -> Iterator[Statement]:
        """Drop roles last, when nothing depends on them."""
        for role in self._roles_to_drop():
            yield Statement(
                label=f'drop role "{role}"', sql=f"DROP ROLE IF EXISTS {identifier(role)}"
            )

    @property
    def _drops_subscriptions(self) -> bool:
        timeline = self._desired.drop_subscriptions_for
        return timeline is not None and timeline != self._catalog.subscriptions_dropped_for

    def subscriptions_done(self) -> Iterator[Statement]:
        """Record it in the cluster itself, with the timeline: a branch has another one."""
        if self._drops_subscriptions and self._desired.drop_subscriptions_for is not None:
            timeline = literal(self._desired.drop_subscriptions_for)
            statement = sql.SUBSCRIPTIONS_DROPPED.format(timeline=timeline)
            yield Statement(label="remember that subscriptions are dropped", sql=statement)


def _drop_subscriptions(database: str) -> Statement:
    label = f'drop the subscriptions of database "{database}"'
    return Statement(label=label, sql=sql.DROP_SUBSCRIPTIONS, expand=True)


def _drop_database(name: str) -> Statement:
    statement = f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)"
    return Statement(label=f'drop database "{name}"', sql=statement)
