"""Fetches the document from its source: conditionally, and with a long poll while it matters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from compute_common.document.document import Document, decode_document
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.errors import FetchError
from compute_ctl.ports import DocumentSource, Fetched, FetchStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What a fetch brought."""

    document: Document | None
    """None: the source says that this compute is empty."""
    long_polled: bool = False
    """It is the answer to a long poll, not to a plain fetch."""


class FetchInterruptedError(Exception):
    """A push or the end of the compute is more important than this fetch."""


class Fetcher:
    """One source, its last answer, and at most one long poll."""

    def __init__(self, source: DocumentSource) -> None:
        self._source = source
        self._etag: str | None = None
        """Of the last document that could be read."""
        self._seen: str | None = None
        """Of the last one, which a long poll need not bring again."""
        self._last: Document | None = None
        self._long_poll: asyncio.Task[News | None] | None = None
        self._long_poll_works = True
        self._at_source = False
        self._holds = False
        self.invited = False
        """Whether the source wants a request of ours held at all times, as it said last."""

    @property
    def held(self) -> bool:
        """Whether a long poll is open at a source that has held the last one."""
        return self._holds and self._at_source and self.open_long_poll is not None

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    async def fetch(self) -> News:
        """Fetch the document now.

        Raises:
            FetchError: no usable answer.
            SpecError: an answer that is no document.
        """
        fetched = await self._source.fetch(etag=self._etag if self._last else None)
        self.invited = fetched.invites
        return await self._news(fetched)

    async def _news(self, fetched: Fetched) -> News:
        if fetched.status is FetchStatus.EMPTY:
            self._etag = self._seen = self._last = None
            return News(document=None)
        if fetched.status is FetchStatus.ATTACHED:
            self._seen = fetched.etag
            self._last = await beside_loop(
                lambda: decode_document(fetched.raw), size=len(fetched.raw), name="document"
            )
            self._etag = fetched.etag
        if self._last is None:
            raise FetchError(f"{self.name} answered that nothing changed, but nothing was known")
        return News(document=self._last)

    def long_poll(
        self,
        *,
        wait_s: int,
        delay_s: float,
        left_alone: Callable[[], float] = lambda: 0.0,
        calm: Callable[[], bool] = lambda: False,
        retry_s: Callable[[FetchError, int], float] = lambda _error, _failures: 1.0,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Open a long poll where there is none and the source may hold requests.

        A source that answered at once is not asked to wait again before `drop_long_poll`.
        *left_alone* tells for how many more seconds the source wants not to be asked; *on_end* is
        called when the long poll has ended. While *calm* says that nothing is suspected, it ends
        with news only: it is repeated, and after a failure it pauses as *retry_s* says of it and
        of the number of failures in a row.
        """
        if self._long_poll is None and self._long_poll_works and self._etag:
            self._long_poll = asyncio.create_task(
                self._watch(wait_s, delay_s, left_alone, calm, retry_s), name="long poll"
            )
            self._long_poll.add_done_callback(_retrieve_error)
            self._long_poll.add_done_callback(lambda _: on_end())

    async def first_news(
        self,
        fetch: Awaitable[News | None],
        *,
        wake: asyncio.Event,
        interrupted: Callable[[], bool],
    ) -> News | None:
        """Await *fetch*, unless the long poll brings news before: then it is given up.

        *wake* is set whenever *interrupted* may have changed.

        Raises:
            FetchInterruptedError: something is more important than this fetch.
            FetchError, SpecError: as `fetch`.
        """
        task = asyncio.ensure_future(fetch)
        task.add_done_callback(lambda _: wake.set())
        try:
            while not task.done():
                wake.clear()
                if interrupted():
                    raise FetchInterruptedError
                if (news := self._take_news()) is not None:
                    return news
                await wake.wait()
        finally:
            if not task.cancel() and not task.cancelled():
                task.exception()  # retrieved, so that asyncio does not log it
        fetched = await task
        if interrupted():  # in the turn of the event loop in which the fetch ended
            raise FetchInterruptedError
        return fetched

    def ended_long_poll(self) -> asyncio.Task[News | None] | None:
        """Return the long poll if it has ended, once; perhaps it did so while others worked.

        Its result is None where nothing new came; it raises what `fetch` raises.
        """
        if self._long_poll is None or not self._long_poll.done():
            return None
        ended, self._long_poll = self._long_poll, None
        return ended

    async def _watch(
        self,
        wait_s: int,
        delay_s: float,
        left_alone: Callable[[], float],
        calm: Callable[[], bool],
        retry_s: Callable[[FetchError, int], float],
    ) -> News | None:
        await asyncio.sleep(delay_s)  # spreads a fleet that lost its long polls together
        failures = 0
        while True:
            try:
                news = await self._wait_for_news(wait_s, left_alone)
            except FetchError as error:
                if not (self.invited and calm()):
                    raise
                failures += 1
                await asyncio.sleep(retry_s(error, failures))
                continue
            if news is not None or not (self.invited and self._holds and calm()):
                return news
            failures = 0

    async def _wait_for_news(self, wait_s: int, left_alone: Callable[[], float]) -> News | None:
        while (pause := left_alone()) > 0.0:  # noqa: ASYNC110 (time is what is waited for)
            await asyncio.sleep(pause)
        self._at_source = True
        try:
            fetched = await self._source.fetch(etag=self._seen or self._etag, wait_s=wait_s)
        except FetchError:
            self._holds = False
            raise
        finally:
            self._at_source = False
        self._long_poll_works = self._holds = fetched.long_polled
        self.invited = fetched.invites
        if fetched.status is FetchStatus.NOT_MODIFIED:
            return None
        return replace(await self._news(fetched), long_polled=True)

    @property
    def open_long_poll(self) -> asyncio.Task[News | None] | None:
        """The long poll that has not ended yet, if there is one."""
        poll = self._long_poll
        return None if poll is None or poll.done() else poll

    def _take_news(self) -> News | None:
        """Return what the long poll brought, once; None where it has not ended, or not well."""
        poll = self._long_poll
        if poll is None or not poll.done() or poll.cancelled() or poll.exception() is not None:
            return None
        news = poll.result()
        if news is not None:
            self._long_poll = None
        return news

    def drop_long_poll(self) -> None:
        """End the long poll, if there is one."""
        task, self._long_poll = self._long_poll, None
        self._long_poll_works = True
        if task is not None:
            task.cancel()


def _retrieve_error(task: asyncio.Task[News | None]) -> None:
    """Retrieve the exception, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
