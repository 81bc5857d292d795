"""The fields of a document, as the control plane writes them. Pure.

The models cover the whole of the reference's ComputeConfig, plus two optional fields of ours that
order documents: `generation` and `timestamp`. Unknown fields are ignored, missing ones defaulted,
wrong types refused. What the fields mean together is decided in `spec_sources` and `render`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Unsigned = Annotated[int, Meta(ge=0)]
Lsn = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$")]


class GenericOption(Struct, frozen=True):
    """A setting, or an option of a role or database."""

    name: str
    value: str | None = None
    vartype: str = "string"


class Role(Struct, frozen=True):
    """A role of the cluster."""

    name: str
    encrypted_password: str | None = None
    """A SCRAM verifier, or an md5 digest without its prefix."""
    options: tuple[GenericOption, ...] | None = None


class Database(Struct, frozen=True):
    """A database of the cluster."""

    name: str
    owner: str
    options: tuple[GenericOption, ...] | None = None


class Cluster(Struct, frozen=True):
    """What Postgres shall look like from within."""

    cluster_id: str | None = None
    name: str | None = None
    state: str | None = None
    roles: tuple[Role, ...] = ()
    databases: tuple[Database, ...] = ()
    postgresql_conf: str | None = None
    """Text for the configuration file, kept as it is."""
    settings: tuple[GenericOption, ...] | None = None


class DeltaOp(Struct, frozen=True):
    """A change that cannot be told from the wanted end state."""

    action: str
    """`delete_db`, `rename_db`, `delete_role` or `rename_role`; others are ignored."""
    name: str
    new_name: str | None = None


class Pageserver(Struct, frozen=True):
    """One pageserver that holds a shard."""

    id: Unsigned | None = None
    libpq_url: str | None = None
    grpc_url: str | None = None


class ShardPageservers(Struct, frozen=True):
    """The pageservers of one shard, the preferred one first."""

    pageservers: tuple[Pageserver, ...]


class PageserverConnectionInfo(Struct, frozen=True):
    """Where the pages are."""

    shard_count: Annotated[int, Meta(ge=0, le=255)]
    """0 is unsharded."""
    shards: dict[str, ShardPageservers]
    """By shard index: two hex digits of number, two of count."""
    stripe_size: Unsigned | None = None
    """In pages."""
    prefer_protocol: Literal["libpq", "grpc"] = "libpq"


class ControlData(Struct, frozen=True):
    """The files of a remote extension."""

    control_data: dict[str, str]
    archive_path: str


class RemoteExtensions(Struct, frozen=True):
    """Extensions that are downloaded when they are first used."""

    library_index: dict[str, str]
    extension_data: dict[str, ControlData]
    public_extensions: tuple[str, ...] | None = None
    custom_extensions: tuple[str, ...] | None = None


class LocalProxyJwks(Struct, frozen=True):
    """A key set that local_proxy trusts."""

    id: str
    role_names: tuple[str, ...]
    jwks_url: str
    provider_name: str
    jwt_audience: str | None = None


class TlsConfig(Struct, frozen=True):
    """Paths of a PEM key and certificate."""

    key_path: str
    cert_path: str


class LocalProxyConfig(Struct, frozen=True):
    """What local_proxy is told."""

    jwks: tuple[LocalProxyJwks, ...] | None = None
    tls: TlsConfig | None = None


class ComputeTlsSettings(Struct, frozen=True):
    """Certificate files of a databricks compute."""

    cert_file: str
    key_file: str
    ca_file: str


class DatabricksSettings(Struct, frozen=True):
    """Accepted for compatibility; nothing of it is applied."""

    pg_compute_tls_settings: ComputeTlsSettings
    databricks_pg_hba: str
    databricks_pg_ident: str
    databricks_workspace_host: str


class Static(Struct, frozen=True):
    """The mode of a compute that is pinned to a point of the log."""

    lsn: Lsn = field(name="Static")


class ComputeSpec(Struct, frozen=True):
    """How a compute should run."""

    cluster: Cluster
    format_version: float = 1.0
    generation: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """Counts up with every change; the document with the higher one is newer."""
    timestamp: str | None = None
    """RFC 3339; orders documents that have no generation."""
    operation_uuid: str | None = None
    features: tuple[str, ...] = ()
    swap_size_bytes: Unsigned | None = None
    disk_quota_bytes: Unsigned | None = None
    disable_lfc_resizing: bool | None = None
    delta_operations: tuple[DeltaOp, ...] | None = None
    skip_pg_catalog_updates: bool = False
    tenant_id: str | None = None
    timeline_id: str | None = None
    pageserver_connection_info: PageserverConnectionInfo | None = None
    pageserver_connstring: str | None = None
    shard_stripe_size: Unsigned | None = None
    project_id: str | None = None
    branch_id: str | None = None
    endpoint_id: str | None = None
    safekeepers_generation: Unsigned | None = None
    safekeeper_connstrings: tuple[str, ...] = ()
    mode: Literal["Primary", "Replica"] | Static = "Primary"
    storage_auth_token: str | None = None
    remote_extensions: RemoteExtensions | None = None
    pgbouncer_settings: dict[str, str] | None = None
    local_proxy_config: LocalProxyConfig | None = None
    reconfigure_concurrency: Unsigned = 1
    """Databases worked on at once; 0 means 1."""
    drop_subscriptions_before_start: bool = False
    audit_log_level: Literal["Disabled", "Log", "Base", "Hipaa", "Extended", "Full"] = "Disabled"
    logs_export_host: str | None = None
    endpoint_storage_addr: str | None = None
    endpoint_storage_token: str | None = None
    autoprewarm: bool = False
    offload_lfc_interval_seconds: Annotated[int, Meta(ge=1)] | None = None
    suspend_timeout_seconds: int = -1
    databricks_settings: DatabricksSettings | None = None


class Jwks(Struct, frozen=True):
    """Public keys as RFC 7517 has them; `auth` reads them."""

    keys: tuple[dict[str, Any], ...] = ()


class ComputeCtlConfig(Struct, frozen=True):
    """What is meant for the daemon itself."""

    jwks: Jwks = Jwks()
    tls: TlsConfig | None = None
