"""The response bodies of the HTTP API. Pure.

Those of /status and of refresh requests are in `decisions.status`, since the commands read them.
"""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from compute_ctl.decisions.proof import Proof


class AckBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to POST /configuration_ack."""

    stale: bool = False


class HealthBody(Struct, frozen=True, kw_only=True):
    """The answer to a health check that succeeds."""

    status: str


class SyncBody(Struct, frozen=True, kw_only=True):
    """The answer to GET /syncz while in sync."""

    status: str
    proof: Proof


class LsnBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /terminate."""

    lsn: str | None


class PromotionBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /promote where it has succeeded; durations in milliseconds."""

    status: str
    lsn_wait_time_ms: int
    pg_promote_time_ms: int
    reconfigure_time_ms: int


class PromotionErrorBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /promote where it has not."""

    status: str
    """``not_promoted``: something newer took its place; else ``failed``."""
    error: str
    hint: str | UnsetType = UNSET


class ComputeMetricsBody(Struct, frozen=True, kw_only=True):
    """The answer to GET /metrics.json: durations of the start, 0 for what is not done here."""

    wait_for_spec_ms: int = 0
    sync_sk_check_ms: int = 0
    sync_safekeepers_ms: int = 0
    pageserver_connect_micros: int = 0
    basebackup_ms: int = 0
    basebackup_bytes: int = 0
    start_postgres_ms: int = 0
    config_ms: int = 0
    total_startup_ms: int = 0
    load_ext_ms: int = 0
    num_ext_downloaded: int = 0
    largest_ext_size: int = 0
    total_ext_download_size: int = 0


class ExtensionBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /extensions."""

    extension: str
    version: str


class GrantBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /grants."""

    database: str
    schema: str
    privileges: list[str]
    role: str
