"""Documents from a file."""

import asyncio
import hashlib
import os
import threading
from pathlib import Path

import pytest

from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.sources.file import MAX_BYTES, FileSource

DOCUMENT = b'{"spec": {"cluster": {}}}'
ETAG = hashlib.sha256(DOCUMENT).hexdigest()


async def test_document_comes_as_it_is(tmp_path: Path) -> None:
    """The bytes are handed on, with their hash as etag."""
    path = tmp_path / "config.json"
    path.write_bytes(DOCUMENT)
    source = FileSource(path)
    assert "file" == source.name
    expected = Fetched(status=FetchStatus.ATTACHED, raw=DOCUMENT, etag=ETAG)
    assert await source.fetch(wait_s=25) == expected


async def test_same_bytes_are_not_modified(tmp_path: Path) -> None:
    """Bytes with the hash asked for are no news; others are."""
    path = tmp_path / "config.json"
    path.write_bytes(DOCUMENT)
    fetched = await FileSource(path).fetch(etag=ETAG)
    assert fetched == Fetched(status=FetchStatus.NOT_MODIFIED, etag=ETAG)
    assert FetchStatus.ATTACHED == (await FileSource(path).fetch(etag="other")).status


async def test_several_at_a_time(tmp_path: Path) -> None:
    """A fetch beside a long poll, and beside one more: each gets what the file holds."""
    path = tmp_path / "config.json"
    path.write_bytes(DOCUMENT)
    source = FileSource(path)
    fetched = await asyncio.gather(*(source.fetch() for _ in range(4)))
    assert [DOCUMENT] * 4 == [found.raw for found in fetched]


async def test_null_spec_is_empty(tmp_path: Path) -> None:
    """A document whose spec is null says that the compute has none."""
    path = tmp_path / "config.json"
    path.write_bytes(b'{"spec": null, "compute_ctl_config": {}}')
    assert FetchStatus.EMPTY == (await FileSource(path).fetch()).status


@pytest.mark.parametrize("content", [b"", DOCUMENT[:-3], b"\xff\xfe", b"{]", b"[" * 100_000])
async def test_half_a_document_is_an_error(tmp_path: Path, content: bytes) -> None:
    """What is no JSON may be half written: an error that is not lasting."""
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(FetchError, match="is not valid JSON") as caught:
        await FileSource(path).fetch()
    assert caught.value.lasting is False


async def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """A missing file, a directory, a FIFO and a file too big are refused with the reason."""
    with pytest.raises(FetchError, match=r"could not read file .*: No such file or directory"):
        await FileSource(tmp_path / "absent").fetch()
    with pytest.raises(FetchError, match="is not a regular file"):
        await FileSource(tmp_path).fetch()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FetchError, match="is not a regular file"):
        await FileSource(tmp_path / "fifo").fetch()
    with (tmp_path / "big").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(FetchError, match="is larger than 4194304 bytes"):
        await FileSource(tmp_path / "big").fetch()


class HungFile(FileSource):
    """On a file system that does not answer until `answers` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.answers, self.begun = threading.Event(), threading.Event()
        self.reads = 0

    def _read(self) -> bytes:
        self.reads += 1
        self.begun.set()
        self.answers.wait(30)
        return super()._read()


async def test_a_fetch_given_up_is_no_failure_of_the_source(tmp_path: Path) -> None:
    """The next fetch waits until its read has ended, and reads what is there by then."""
    path = tmp_path / "config.json"
    path.write_bytes(b'{"spec": null}')
    source = HungFile(path)
    given_up = asyncio.create_task(source.fetch())
    await asyncio.to_thread(source.begun.wait, 5)
    given_up.cancel()
    await asyncio.wait({given_up})

    second = asyncio.create_task(source.fetch())
    await asyncio.sleep(0)  # it begins
    path.write_bytes(DOCUMENT)
    source.answers.set()

    expected = Fetched(status=FetchStatus.ATTACHED, raw=DOCUMENT, etag=ETAG)
    assert (expected, 2) == (await second, source.reads)


async def test_a_hung_file_system_takes_one_thread_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second read begins while one hangs, and threads for other work are left alone."""
    monkeypatch.setattr("compute_ctl.sources.file.READ_TIMEOUT_S", 0.2)
    source = HungFile(tmp_path / "config.json")
    with pytest.raises(FetchError, match=r"no answer within 0\.2 s"):
        await source.fetch()
    with pytest.raises(FetchError, match="an earlier run has not ended yet"):
        await source.fetch()
    assert 1 == source.reads
    assert "file" in {thread.name for thread in threading.enumerate() if thread.daemon}
    source.answers.set()
