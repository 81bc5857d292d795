"""How the last prewarm and the last offload of Neon's file cache ended, as the API shows it. Pure.

Names and fields are the reference's.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType


class CacheStatus(StrEnum):
    """How far it is."""

    NOT_PREWARMED = "not_prewarmed"
    PREWARMING = "prewarming"
    NOT_OFFLOADED = "not_offloaded"
    OFFLOADING = "offloading"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """There is nothing to load, or nothing to keep."""
    CANCELLED = "cancelled"


class PrewarmState(Struct, frozen=True, kw_only=True):
    """The last prewarm; the numbers only where it is completed."""

    status: CacheStatus = CacheStatus.NOT_PREWARMED
    error: str | UnsetType = UNSET
    total: int | UnsetType = UNSET
    """Pages in the state that was loaded."""
    prewarmed: int | UnsetType = UNSET
    skipped: int | UnsetType = UNSET
    """Pages that were there already."""
    state_download_time_ms: int | UnsetType = UNSET
    uncompress_time_ms: int | UnsetType = UNSET
    prewarm_time_ms: int | UnsetType = UNSET


class OffloadState(Struct, frozen=True, kw_only=True):
    """The last offload; the times only where it is completed."""

    status: CacheStatus = CacheStatus.NOT_OFFLOADED
    error: str | UnsetType = UNSET
    state_query_time_ms: int | UnsetType = UNSET
    compress_time_ms: int | UnsetType = UNSET
    state_upload_time_ms: int | UnsetType = UNSET
