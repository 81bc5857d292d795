"""The part of a document that concerns roles, databases and extensions. Pure.

It has its own hash, so a refresh that only moves the pageservers causes no catalog work.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from compute_common.document.document import Document
from compute_common.document.spec import ComputeSpec, Database, DeltaOp, Role
from compute_common.errors import SpecError
from compute_ctl.document.quoting import settings_in
from compute_ctl.document.render import SIZE_LIMIT
from compute_ctl.document.spec_sources import setting, timeline_id
from compute_ctl.sql.quoting import check_object_name

PRELOAD: Final = "shared_preload_libraries"
DELTA_ACTIONS: Final = frozenset({"delete_db", "rename_db", "delete_role", "rename_role"})
NO_TIMELINE: Final = "none"
"""Stands for the timeline of a document that names none."""
_RENAMES: Final = frozenset({"rename_db", "rename_role"})
_AUDIT_EXTENSIONS: Final = {
    "Base": ("pgaudit",),
    "Log": ("pgaudit",),
    "Extended": ("pgaudit", "pgauditlogtofile"),
    "Hipaa": ("pgaudit", "pgauditlogtofile"),
    "Full": ("pgaudit", "pgauditlogtofile"),
}


class DesiredCatalog(msgspec.Struct, frozen=True, kw_only=True):
    """The desired content of the catalog, and changes to be made once."""

    roles: tuple[Role, ...] = ()
    databases: tuple[Database, ...] = ()
    deltas: tuple[DeltaOp, ...] = ()
    operation: str = ""
    """Identifies the deltas, which run once for each operation."""
    extensions: tuple[str, ...] = ()
    """For the system database, as far as the server has them."""
    audit: bool = False
    plain_roles: frozenset[str] = frozenset()
    """Roles of local_proxy users, created without extra privileges."""
    drop_subscriptions_for: str | None = None
    """The timeline in which the inherited subscriptions are to be dropped."""

    @classmethod
    def of(cls, document: Document) -> DesiredCatalog | None:
        """Return what *document* asks for; None if the catalog must not be changed.

        Raises:
            CatalogError: a name is not valid.
        """
        spec = document.spec
        if spec.skip_pg_catalog_updates or spec.mode != "Primary":
            return None
        desired = cls(
            roles=spec.cluster.roles,
            databases=spec.cluster.databases,
            deltas=tuple(
                delta for delta in spec.delta_operations or () if delta.action in DELTA_ACTIONS
            ),
            extensions=_extensions(spec),
            audit=spec.audit_log_level != "Disabled",
            plain_roles=_proxy_roles(spec),
            drop_subscriptions_for=_timeline(spec)
            if spec.drop_subscriptions_before_start
            else None,
        )
        desired.check()
        if desired.deltas:
            operation = spec.operation_uuid or f"sha256:{desired.sha256}"
            desired = msgspec.structs.replace(desired, operation=operation)
        return desired

    def check(self) -> None:
        """Check all names. Raises CatalogError."""
        for role in self.roles:
            check_object_name(role.name, "role")
        for database in self.databases:
            check_object_name(database.name, "database")
            check_object_name(database.owner, f'the owner of database "{database.name}"')
        for delta in self.deltas:
            check_object_name(delta.name, delta.action)
            if delta.action in _RENAMES:
                check_object_name(delta.new_name or "", f"the target of {delta.action}")

    def without(self, done: tuple[str, ...]) -> DesiredCatalog:
        """Return this without its deltas if their operation is in *done*."""
        return msgspec.structs.replace(self, deltas=()) if self.operation in done else self

    @property
    def empty(self) -> bool:
        """Whether it asks for nothing."""
        return not (
            self.roles
            or self.databases
            or self.deltas
            or self.extensions
            or self.audit
            or self.drop_subscriptions_for
        )

    @property
    def sha256(self) -> str:
        """Equal for documents that ask for the same catalog."""
        content = msgspec.to_builtins(self, order="sorted")
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def has_size_limit(spec: ComputeSpec) -> bool:
    """Whether the document sets the size limit, which catalog work may exceed."""
    if setting(spec, SIZE_LIMIT) is not None:
        return True
    try:
        lines = settings_in(spec.cluster.postgresql_conf or "", "spec.cluster.postgresql_conf")
        return any(line.name.lower() == SIZE_LIMIT for line in lines)
    except SpecError:
        return False


def _extensions(spec: ComputeSpec) -> tuple[str, ...]:
    preload = setting(spec, PRELOAD)
    libraries = [name.strip() for name in preload.value.split(",")] if preload else []
    statements = ("pg_stat_statements",) if "pg_stat_statements" in libraries else ()
    neon = ("neon",) if "neon" in libraries else ()
    return (*statements, *neon, *_AUDIT_EXTENSIONS.get(spec.audit_log_level, ()))


def _proxy_roles(spec: ComputeSpec) -> frozenset[str]:
    config = spec.local_proxy_config
    return frozenset(
        name for key in (config.jwks or () if config else ()) for name in key.role_names
    )


def _timeline(spec: ComputeSpec) -> str:
    return timeline_id(spec) or NO_TIMELINE
