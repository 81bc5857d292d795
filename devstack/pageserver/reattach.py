"""At its start a pageserver registers at the storage controller and asks which shards it has.

`POST /upcall/v1/re-attach`; the answer gives a new generation to each attached shard. As the
reference's, this server opens its libpq port only afterwards, and asks until it is answered.
"""

import asyncio
import logging
from typing import Any

import aiohttp

DEADLINE = aiohttp.ClientTimeout(total=5.0)
PAUSE_SECONDS = 0.2

log = logging.getLogger(__name__)


def registration(node_id: int, *, libpq: str, http: str) -> dict[str, Any]:
    """The body: who we are, and the `HOST:PORT` where we listen."""
    pg_host, _, pg_port = libpq.rpartition(":")
    http_host, _, http_port = http.rpartition(":")
    register = {
        "node_id": node_id,
        "listen_pg_addr": pg_host,
        "listen_pg_port": int(pg_port),
        "listen_http_addr": http_host,
        "listen_http_port": int(http_port),
        "listen_https_port": None,
        "availability_zone_id": "az",
    }
    return {"node_id": node_id, "register": register}


async def reattach(
    url: str, token: str | None, body: dict[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """Ask until answered: tenant shard ids, each with its location."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(timeout=DEADLINE, headers=headers) as session:
        while True:
            try:
                async with session.post(f"{url}/upcall/v1/re-attach", json=body) as response:
                    response.raise_for_status()
                    answer = await response.json()
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("could not re-attach at %s: %s", url, error)
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return [(tenant["id"], _location(tenant)) for tenant in answer["tenants"]]


def _location(tenant: dict[str, Any]) -> dict[str, Any]:
    return {
        "mode": tenant["mode"],
        "generation": tenant["gen"],
        "shard_stripe_size": tenant["stripe_size"],
    }
