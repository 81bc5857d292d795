"""Patroni's leader by its REST API: `GET /cluster` of any member, asked again and again.

The API has nothing that waits for a change. Any member answers for all: it reads the store for
each answer. One that gives none, or one without a leader, is not asked first the next time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

from compute_common.errors import SpecError
from compute_common.http.addresses import base_urls
from compute_common.http.client import HttpClient, RefusedError, status_text
from compute_ctl.decisions.leader import Leader, leader_of_cluster
from compute_ctl.errors import FetchError

POLL_S: Final = 0.5
"""Between two looks at the leader."""
ASK_TIMEOUT_S: Final = 3.0
"""Of one address. Patroni waits for a store that does not answer longer than that."""
CONNECT_TIMEOUT_S: Final = 2.0
_MAX_BYTES: Final = 1024 * 1024


def api_addresses(uri: str) -> tuple[str, ...]:
    """Return the addresses that *uri*, a comma list, names. Raises SettingsError."""
    return base_urls(
        uri,
        service="patroni",
        example="--patroni http://192.0.2.10:8008",
        login_hint="GET /cluster needs none.",
    )


class PatroniApi:
    """The REST API of one cluster; use it in one event loop, and close it there."""

    def __init__(self, addresses: tuple[str, ...], *, poll_s: float = POLL_S) -> None:
        self._addresses = deque(addresses)
        """The one to ask first."""
        self._poll_s = poll_s
        self._client = HttpClient(
            peer="patroni",
            tls=any(base.startswith("https:") for base in addresses),
            max_bytes=_MAX_BYTES,
            connect_timeout_s=CONNECT_TIMEOUT_S,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def distrust(self) -> None:
        """Ask another address first."""
        self._addresses.rotate(-1)

    async def watch(self) -> AsyncGenerator[Leader | None, None]:
        """Yield the leader, every now and then; see `LeaderLookup.watch`."""
        while True:
            yield await self._ask()
            await asyncio.sleep(self._poll_s)

    async def _ask(self) -> Leader | None:
        """Ask each address at most once, until one answers."""
        reasons: list[str] = []
        for base in tuple(self._addresses):
            try:
                answer = await self._client.request(
                    "GET",
                    f"{base}/cluster",
                    rpc="cluster",
                    total_s=ASK_TIMEOUT_S,
                    headers={},
                    reset_on_timeout=False,
                )
                if answer.status == HTTPStatus.OK:
                    return leader_of_cluster(answer.body)
                reason = f"HTTP status {status_text(answer.status)}"
            except (RefusedError, SpecError) as error:
                reason = error.reason
            reasons.append(f'"{base}": {reason}')
            if self._addresses[0] == base:
                self.distrust()
        raise FetchError(f"could not get the leader from patroni {'; '.join(reasons)}")
