"""The source that is a local document, the template, whose primary is the leader of Patroni.

Only host and port of `primary_conninfo` come from the leader; the order of documents is the
template's own (`spec.generation`), so what is written is never older than the template in force.
The leader known is kept while the cluster has none, cannot be asked, or names this server itself.
It is forgotten when the daemon ends: the first answer counts then, whatever it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, Protocol

from compute_common.errors import SpecError
from compute_ctl.decisions.leader import Leader, choose
from compute_ctl.document.primary_template import with_primary
from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.sources.file import FileSource

TOTAL_TIMEOUT_S: Final = 10.0

logger = logging.getLogger(__name__)


class LeaderLookup(Protocol):
    """Where Patroni's leader is looked up: its REST API, or its store."""

    def watch(self) -> AsyncGenerator[Leader | None, None]:
        """Yield the leader now, and again whenever it may have changed.

        Raises:
            FetchError: no usable answer.
        """

    def distrust(self) -> None:
        """Ask another address the next time, if there is one: this one may be behind."""

    async def close(self) -> None:
        """Close the connections."""


class PatroniSource:
    """Documents made from a template and a leader."""

    def __init__(
        self,
        template: FileSource,
        lookup: LeaderLookup,
        *,
        is_ourselves: Callable[[str, int], Awaitable[bool]],
    ) -> None:
        """*is_ourselves* tells whether the server managed here has this host and port."""
        self._template = template
        self._lookup = lookup
        self._is_ourselves = is_ourselves
        self._known: Leader | None = None
        self._reason = ""

    @property
    def name(self) -> str:
        """``patroni``."""
        return "patroni"

    async def close(self) -> None:
        """Close the connections; the next fetch would open new ones."""
        await self._lookup.close()

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Read the template and ask for the leader; see `ports.DocumentSource.fetch`.

        Raises:
            FetchError: there is no template, or no leader to begin with.
        """
        template = await self._template.fetch()
        if template.status is not FetchStatus.ATTACHED:
            return template
        fetched: Fetched | None = None
        try:
            async with (
                asyncio.timeout(TOTAL_TIMEOUT_S) as limit,
                aclosing(self._lookup.watch()) as answers,
            ):
                async for found in answers:
                    waits = fetched is not None
                    await self._choose(found)
                    fetched = self._made(template.raw, etag, held=wait_s is not None)
                    if wait_s is None or fetched.status is not FetchStatus.NOT_MODIFIED:
                        break
                    if not waits:
                        limit.reschedule(asyncio.get_running_loop().time() + wait_s)
        except TimeoutError as error:
            if fetched is None:
                reason = f"no answer of patroni within {TOTAL_TIMEOUT_S:g} s"
                raise FetchError(reason) from error
        if fetched is None:
            raise FetchError("patroni's leader could not be looked up")
        return fetched

    async def _choose(self, found: Leader | None) -> None:
        """Take *found* as the leader to follow, unless there is a reason not to."""
        known = self._known
        moved = found is not None and (known is None or found.address != known.address)
        ourselves = moved and found is not None and await self._is_ourselves(*found.address)
        choice = choose(self._known, found, ourselves=ourselves)
        self._known = choice.leader
        if choice.reason:
            self._lookup.distrust()
        if choice.reason != self._reason and choice.reason:
            kept = f"; the one to follow stays {choice.leader}" if choice.leader else ""
            logger.warning("patroni: %s%s", choice.reason, kept)
        self._reason = choice.reason
        if choice.leader is not None and moved and not choice.reason:
            logger.info("patroni: the leader is %s", choice.leader)

    def _made(self, template: bytes, etag: str | None, *, held: bool) -> Fetched:
        if self._known is None:
            raise FetchError(f"patroni: {self._reason}")
        try:
            raw = with_primary(template, host=self._known.host, port=self._known.port)
        except (SpecError, RecursionError) as error:
            raise FetchError(f"the template cannot be used: {error}") from error
        found = hashlib.sha256(raw).hexdigest()
        same = found == etag
        return Fetched(
            status=FetchStatus.NOT_MODIFIED if same else FetchStatus.ATTACHED,
            raw=b"" if same else raw,
            etag=found,
            long_polled=held,
            invites=True,
        )
