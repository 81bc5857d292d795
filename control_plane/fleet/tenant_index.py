"""Which computes belong to which tenant."""

from __future__ import annotations


class TenantIndex:
    """Both directions of the relation."""

    def __init__(self) -> None:
        self._computes: dict[str, set[str]] = {}
        self._tenants: dict[str, str] = {}

    def put(self, compute_id: str, tenant_id: str | None) -> str | None:
        """Note the tenant of a compute, None for none; return the one that it had."""
        old = self._tenants.pop(compute_id, None)
        if old is not None:
            self._computes[old].discard(compute_id)
            if not self._computes[old]:
                del self._computes[old]
        if tenant_id is not None:
            self._tenants[compute_id] = tenant_id
            self._computes.setdefault(tenant_id, set()).add(compute_id)
        return old

    def computes_of(self, tenant_id: str) -> list[str]:
        """Return the ids of a tenant's computes, sorted."""
        return sorted(self._computes.get(tenant_id, ()))

    def tenant_of(self, compute_id: str) -> str | None:
        """Return the tenant of a compute."""
        return self._tenants.get(compute_id)
