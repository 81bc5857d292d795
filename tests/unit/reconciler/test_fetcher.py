"""When the source tells by itself what is new, and when it must be asked."""

import asyncio

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
