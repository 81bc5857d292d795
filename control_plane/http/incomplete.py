"""Why there is no document for a compute as things are now."""

from __future__ import annotations

from control_plane.decisions.documents import Incomplete, compose
from control_plane.decisions.model import ComputeRecord
from control_plane.http.api import Api


def why_incomplete(api: Api, record: ComputeRecord) -> str:
    """Return what is missing, '' for nothing."""
    registry = api.registry
    tenant = registry.tenants.get(record.tenant_id or "")
    composed = compose(record, tenant, registry.nodes, managed=api.settings.managed)
    return composed.reason if isinstance(composed, Incomplete) else ""
