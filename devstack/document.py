"""Ready-made control-plane documents for tests and the demo."""

from collections.abc import Mapping, Sequence
from typing import Any


def attached(
    *,
    tenant: str,
    timeline: str,
    connstring: str | None = None,
    pageservers: Sequence[str | Sequence[str]] | None = None,
    stripe_size: int | None = None,
    generation: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """An `attached` document without catalog work.

    `connstring` fills the legacy string; `pageservers`, one URL a shard or several, fills
    `pageserver_connection_info`, with `stripe_size` in blocks where there are several.
    """
    spec: dict[str, Any] = {
        "format_version": 1.0,
        "suspend_timeout_seconds": -1,
        "cluster": {
            "roles": [],
            "databases": [],
            "settings": [
                {"name": name, "value": value, "vartype": "string"}
                for name, value in (settings or {}).items()
            ],
        },
        "skip_pg_catalog_updates": True,
        "tenant_id": tenant,
        "timeline_id": timeline,
        "mode": "Primary",
    }
    if generation is not None:
        spec["generation"] = generation
    if connstring is not None:
        spec["pageserver_connstring"] = connstring
        spec["shard_stripe_size"] = stripe_size
    if pageservers is not None:
        spec["pageserver_connection_info"] = _connection_info(pageservers, stripe_size)
    return {"status": "attached", "spec": spec, "compute_ctl_config": {"jwks": {"keys": []}}}


def _connection_info(
    shards: Sequence[str | Sequence[str]], stripe_size: int | None
) -> dict[str, Any]:
    count = 0 if len(shards) == 1 and stripe_size is None else len(shards)
    return {
        "shard_count": count,
        "stripe_size": stripe_size,
        "prefer_protocol": "libpq",
        "shards": {
            f"{number:02x}{count:02x}": {
                "pageservers": [
                    {"id": number + 1, "libpq_url": url}
                    for url in ([urls] if isinstance(urls, str) else urls)
                ]
            }
            for number, urls in enumerate(shards)
        },
    }
