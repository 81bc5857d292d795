"""When the source tells by itself what is new, and when it must be asked."""

import asyncio
from typing import Any

from compute_common.errors import SpecError
from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.reconciler.fetcher import Fetcher

DOCUMENT = b"""
{"spec": {"format_version": 1.0, "suspend_timeout_seconds": -1, "skip_pg_catalog_updates": true,
          "cluster": {"roles": [], "databases": [], "settings": []}},
 "compute_ctl_config": {"jwks": {"keys": []}}}
"""
LONG_S = 60.0


class Holder:
    """A source that holds each long poll until `release` is set."""

    name = "holder"

    def __init__(self) -> None:
        self.arrived, self.release = asyncio.Event(), asyncio.Event()
        self.broken = False

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Answer at once, or hold."""
        if wait_s is None:
            return Fetched(status=FetchStatus.ATTACHED, raw=DOCUMENT, etag="1")
        self.arrived.set()
        await self.release.wait()
        self.arrived.clear()
        self.release.clear()
        if self.broken:
            raise FetchError("gone")
        return Fetched(status=FetchStatus.NOT_MODIFIED, etag=etag, long_polled=True)

    async def end(self, fetcher: Fetcher) -> None:
        """Answer the long poll that is open."""
        await self.arrived.wait()
        self.release.set()
        poll = fetcher.open_long_poll
        assert poll is not None
        await asyncio.wait([poll])
        fetcher.ended_long_poll()


async def made() -> tuple[Holder, Fetcher]:
    """A fetcher that has a document."""
    source = Holder()
    fetcher = Fetcher(source)
    await fetcher.fetch()
    return source, fetcher


async def test_the_first_long_poll_is_not_relied_upon() -> None:
    """Nobody knows yet whether the source tells news by itself."""
    source, fetcher = await made()
    fetcher.long_poll(wait_s=20, delay_s=0)
    await source.arrived.wait()

    assert not fetcher.held
    fetcher.drop_long_poll()


async def test_a_long_poll_at_a_source_that_held_one_is_relied_upon() -> None:
    """The second is, as soon as it has reached the source."""
    source, fetcher = await made()
    fetcher.long_poll(wait_s=20, delay_s=0)
    await source.end(fetcher)
    fetcher.long_poll(wait_s=20, delay_s=0)
    await source.arrived.wait()

    assert fetcher.held
    fetcher.drop_long_poll()


async def test_a_long_poll_that_waits_to_be_opened_is_not_relied_upon() -> None:
    """In the pause before it is opened nobody would tell the news."""
    source, fetcher = await made()
    fetcher.long_poll(wait_s=20, delay_s=0)
    await source.end(fetcher)
    fetcher.long_poll(wait_s=20, delay_s=LONG_S)
    await asyncio.sleep(0)  # the task begins

    assert not fetcher.held
    fetcher.drop_long_poll()


async def test_a_source_that_lost_a_long_poll_is_not_relied_upon() -> None:
    """After a failure it must first show again that it holds."""
    source, fetcher = await made()
    fetcher.long_poll(wait_s=20, delay_s=0)
    await source.end(fetcher)
    source.broken = True
    fetcher.long_poll(wait_s=20, delay_s=0)
    await source.end(fetcher)
    fetcher.long_poll(wait_s=20, delay_s=0)
    await source.arrived.wait()

    assert not fetcher.held
    fetcher.drop_long_poll()


class Inviter:
    """A source that wants to be asked at all times; a test puts what the next long poll gets."""

    name = "inviter"

    def __init__(self) -> None:
        self.answers: asyncio.Queue[Fetched | FetchError] = asyncio.Queue()
        self.etags: list[str | None] = []
        """What each long poll knew."""

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Answer a plain fetch at once, and a long poll as the test says."""
        if wait_s is None:
            return Fetched(status=FetchStatus.ATTACHED, raw=DOCUMENT, etag="1", invites=True)
        self.etags.append(etag)
        answer = await self.answers.get()
        if isinstance(answer, FetchError):
            raise answer
        return answer

    def put(self, raw: bytes = b"", etag: str = "1") -> None:
        """Answer a long poll: with *raw*, or that nothing has changed."""
        status = FetchStatus.ATTACHED if raw else FetchStatus.NOT_MODIFIED
        answer = Fetched(status=status, raw=raw, etag=etag, long_polled=True, invites=True)
        self.answers.put_nowait(answer)


async def invited(*, calm: bool = True) -> tuple[Inviter, Fetcher, list[int]]:
    """A fetcher that has a document and an open long poll, and the failures it has counted."""
    source = Inviter()
    fetcher = Fetcher(source)
    await fetcher.fetch()
    failures: list[int] = []

    def retry_s(_error: FetchError, count: int) -> float:
        failures.append(count)
        return 0.0

    fetcher.long_poll(wait_s=20, delay_s=0, calm=lambda: calm, retry_s=retry_s)
    return source, fetcher, failures


async def ended(fetcher: Fetcher) -> asyncio.Task[Any]:
    """The long poll, when it has ended."""
    poll = fetcher.open_long_poll
    assert poll is not None
    await asyncio.wait([poll])
    found = fetcher.ended_long_poll()
    assert found is not None
    return found


async def test_an_invited_long_poll_ends_with_news_only() -> None:
    """While nothing is suspected, it goes on by itself: after silence, and after failures."""
    source, fetcher, failures = await invited()
    source.put()
    source.answers.put_nowait(FetchError("gone"))
    source.answers.put_nowait(FetchError("gone"))
    source.put()
    source.answers.put_nowait(FetchError("gone"))
    source.put(DOCUMENT, "2")
    news = (await ended(fetcher)).result()
    assert (True, [1, 2, 1], ["1"] * 6) == (news.long_polled, failures, source.etags)


async def test_a_suspicion_wants_to_know() -> None:
    """Somebody waits: the end of the long poll is an answer, and a failure is one, too."""
    source, fetcher, failures = await invited(calm=False)
    source.put()
    assert (await ended(fetcher)).result() is None
    fetcher.long_poll(wait_s=20, delay_s=0)
    source.answers.put_nowait(FetchError("gone"))
    assert isinstance((await ended(fetcher)).exception(), FetchError)
    assert [] == failures


async def test_a_refused_document_is_not_brought_again() -> None:
    """What cannot be read is told once; then the long poll waits for something else."""
    source, fetcher, _ = await invited()
    source.put(b'{"spec": 1}', "2")
    assert isinstance((await ended(fetcher)).exception(), SpecError)
    fetcher.long_poll(wait_s=20, delay_s=0, calm=lambda: True)
    source.put(DOCUMENT, "3")
    assert (await ended(fetcher)).result() is not None
    assert ["1", "2"] == source.etags
