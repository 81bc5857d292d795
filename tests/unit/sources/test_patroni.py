"""The source that is a template and a leader."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from compute_ctl.decisions.leader import Leader
from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.sources.file import FileSource
from compute_ctl.sources.own_address import is_own_host
from compute_ctl.sources.patroni import PatroniSource
from devstack.wait import until

OWN_PORT = 7777
A = Leader(name="a", host="10.0.0.1", port=5432, epoch=(0, 3))
B = Leader(name="b", host="10.0.0.2", port=5432, epoch=(0, 4))
OURSELVES = Leader(name="c", host="127.0.0.1", port=OWN_PORT, epoch=(0, 5))


class Answers:
    """A lookup that answers what the test says."""

    def __init__(self) -> None:
        self.now: Leader | FetchError | None = A
        self.changed = asyncio.Event()
        self.distrusted = 0
        self.watching = 0

    def tell(self, leader: Leader | FetchError | None) -> None:
        """Answer this from now on."""
        self.now = leader
        self.changed.set()

    async def watch(self) -> AsyncGenerator[Leader | None, None]:
        """Yield what is told."""
        self.watching += 1
        try:
            while True:
                self.changed.clear()
                if isinstance(self.now, FetchError):
                    raise self.now
                yield self.now
                await self.changed.wait()
        finally:
            self.watching -= 1

    def distrust(self) -> None:
        """Count it."""
        self.distrusted += 1

    async def close(self) -> None:
        """Nothing is open."""


def spec(primary_conninfo: str) -> dict[str, Any]:
    """A template."""
    option = {"name": "primary_conninfo", "value": primary_conninfo}
    return {"spec": {"cluster": {"settings": [option]}}}


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a file."""
    path.write_text(json.dumps(document))


@pytest.fixture
def answers() -> Answers:
    """Return what Patroni says."""
    return Answers()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """Return a file with a template."""
    path = tmp_path / "config.json"
    write(path, spec("user=r"))
    return path


@pytest.fixture
def source(answers: Answers, template: Path) -> PatroniSource:
    """Return a source made of both."""

    async def is_ourselves(host: str, port: int) -> bool:
        return port == OWN_PORT and await is_own_host(host)

    return PatroniSource(FileSource(template), answers, is_ourselves=is_ourselves)


def primary(fetched: Fetched) -> str:
    """The primary that a document names."""
    assert FetchStatus.ATTACHED == fetched.status
    value = json.loads(fetched.raw)["spec"]["cluster"]["settings"][0]["value"]
    assert isinstance(value, str)
    return value


async def test_a_fetch_names_the_leader(source: PatroniSource, answers: Answers) -> None:
    """Once; then nothing has changed until another leads."""
    first = await source.fetch()
    assert "host=10.0.0.1 port=5432 user=r" == primary(first)
    assert FetchStatus.NOT_MODIFIED == (await source.fetch(etag=first.etag)).status
    answers.tell(B)
    assert "host=10.0.0.2 port=5432 user=r" == primary(await source.fetch(etag=first.etag))
    assert 0 == answers.watching


@pytest.mark.parametrize("leader", [None, OURSELVES, A])
async def test_what_is_no_news(
    source: PatroniSource,
    answers: Answers,
    template: Path,
    leader: Leader | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No leader, this server itself, an older answer: the leader stays, and the log says why."""
    answers.tell(B)
    first = await source.fetch()
    answers.tell(leader)
    for _ in range(2):
        assert FetchStatus.NOT_MODIFIED == (await source.fetch(etag=first.etag)).status
    assert 1 == caplog.text.count('the one to follow stays "b" at 10.0.0.2:5432')
    assert 2 == answers.distrusted

    write(template, spec("user=s"))
    changed = await source.fetch(etag=first.etag)
    assert "host=10.0.0.2 port=5432 user=s" == primary(changed)


@pytest.mark.parametrize(
    ("leader", "reason"),
    [
        (None, "patroni: the cluster has no leader"),
        (OURSELVES, 'patroni: leader "c" at 127.0.0.1:7777 is this server itself'),
        (FetchError("it is away"), "it is away"),
    ],
)
async def test_nobody_is_known_yet(
    source: PatroniSource, answers: Answers, leader: Leader | FetchError | None, reason: str
) -> None:
    """That is a failure, and the next fetch may succeed."""
    answers.tell(leader)
    with pytest.raises(FetchError, match=reason):
        await source.fetch()
    answers.tell(A)
    assert "host=10.0.0.1 port=5432 user=r" == primary(await source.fetch())


async def test_a_long_poll_tells_the_news(source: PatroniSource, answers: Answers) -> None:
    """Of a new leader, as soon as it is known; not of answers that change nothing."""
    first = await source.fetch()
    assert first.invites
    waiting = asyncio.create_task(source.fetch(etag=first.etag, wait_s=600))
    for leader in (None, A, OURSELVES):
        await asyncio.sleep(0)
        answers.tell(leader)
    answers.tell(B)
    news = await asyncio.wait_for(waiting, 30)
    assert "host=10.0.0.2 port=5432 user=r" == primary(news)
    assert news.long_polled


async def test_a_long_poll_ends_without_news(source: PatroniSource, answers: Answers) -> None:
    """After the time it was given; nothing goes on."""
    first = await source.fetch()
    ended = await source.fetch(etag=first.etag, wait_s=0)
    assert (FetchStatus.NOT_MODIFIED, True, True) == (
        ended.status,
        ended.long_polled,
        ended.invites,
    )
    assert 0 == answers.watching


async def test_a_long_poll_fails(source: PatroniSource, answers: Answers) -> None:
    """Where the answers end, so does it."""
    first = await source.fetch()
    waiting = asyncio.create_task(source.fetch(etag=first.etag, wait_s=600))
    await until("the long poll", lambda: answers.watching)
    answers.tell(FetchError("it is away"))
    with pytest.raises(FetchError, match="it is away"):
        await asyncio.wait_for(waiting, 30)


def nest(template: Path, depth: int) -> None:
    """Write one that is nested so deeply."""
    template.write_text('{"x": %s, "spec": {}}' % ("[" * depth + "]" * depth))


async def test_the_template(source: PatroniSource, template: Path) -> None:
    """It may say that there is nothing; one that cannot be used is a failure with the reason."""
    write(template, {"spec": None})
    assert FetchStatus.EMPTY == (await source.fetch()).status
    write(template, {"spec": {"cluster": {}}})
    with pytest.raises(FetchError, match=r"the template cannot be used: .* names no"):
        await source.fetch()
    for depth in (700, 100_000):
        nest(template, depth)
        with pytest.raises(FetchError):
            await source.fetch()


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", True),
        ("192.0.2.1", False),
        ("host.invalid", False),
        ("a" * 70 + ".b", False),
    ],
)
async def test_own_addresses(host: str, own: bool) -> None:
    """Those of this machine, by name or number."""
    assert own is await is_own_host(host)
