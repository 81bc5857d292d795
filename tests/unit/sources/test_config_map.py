"""A file on the mount of a ConfigMap is watched; any other file is read when asked for."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.sources.config_map import RenameWatch
from compute_ctl.sources.file import FileSource
from devstack.config_map import ConfigMapMount
from tests.support.files import descriptors

BOUND_S = 30.0
SWAPS = 200


def document(number: int) -> str:
    """A document, long enough to be written in more than one piece."""
    return json.dumps({"spec": {"generation": number, "filler": "x" * 100_000}})


def generation(fetched: Fetched) -> int:
    """The number of what was fetched."""
    assert FetchStatus.ATTACHED == fetched.status
    found: int = json.loads(fetched.raw)["spec"]["generation"]
    return found


def inotify_count() -> int:
    """How many watches this process has open."""
    return sum("inotify" in found for found in descriptors(os.getpid()))


@pytest.fixture
def mount(tmp_path: Path) -> ConfigMapMount:
    """Return a mount that holds a document."""
    made = ConfigMapMount(tmp_path / "mount")
    made.write(document(0))
    return made


async def test_a_swap_is_told(mount: ConfigMapMount) -> None:
    """A fetch that waits ends with the new document, and says that the next one shall wait, too."""
    source = FileSource(mount.path)
    first = await source.fetch()
    assert (False, True) == (first.long_polled, first.invites)
    waiting = asyncio.create_task(source.fetch(etag=first.etag, wait_s=600))
    await source.fetch(etag=first.etag)  # beside it
    mount.write(document(0))  # the same again is no news
    mount.write(document(1))
    news = await asyncio.wait_for(waiting, BOUND_S)
    assert 1 == generation(news)
    assert (True, True) == (news.long_polled, news.invites)


async def test_nothing_is_missed_or_half_read(mount: ConfigMapMount) -> None:
    """The last of many swaps is seen, each document whole, none older than one before."""
    source = FileSource(mount.path)

    async def follow() -> list[int]:
        fetched = await source.fetch()
        seen = [generation(fetched)]
        while seen[-1] < SWAPS:
            fetched = await source.fetch(etag=fetched.etag, wait_s=600)
            seen.append(generation(fetched))
        return seen

    following = asyncio.create_task(follow())
    for number in range(1, SWAPS + 1):
        await asyncio.to_thread(mount.write, document(number))
    seen = await asyncio.wait_for(following, BOUND_S)
    assert sorted(set(seen)) == seen


async def test_the_wait_ends(mount: ConfigMapMount) -> None:
    """Without news, and without a descriptor left open."""
    source = FileSource(mount.path)
    first = await source.fetch()
    before = inotify_count()
    ended = await source.fetch(etag=first.etag, wait_s=0)
    unchanged = FetchStatus.NOT_MODIFIED
    assert Fetched(status=unchanged, etag=first.etag, long_polled=True, invites=True) == ended
    assert before == inotify_count()


async def test_a_mount_that_goes_is_an_error(mount: ConfigMapMount) -> None:
    """Also for a fetch that waits already."""
    source = FileSource(mount.path)
    first = await source.fetch()
    waiting = asyncio.create_task(source.fetch(etag=first.etag, wait_s=600))
    await source.fetch(etag=first.etag)
    shutil.rmtree(mount.path.parent)
    with pytest.raises(FetchError, match="No such file or directory"):
        await asyncio.wait_for(waiting, BOUND_S)
    with pytest.raises(FetchError, match="could not read file"):
        await source.fetch()


async def test_any_other_file_is_not_watched(tmp_path: Path) -> None:
    """It may be half written: somebody says when it is whole."""
    path = tmp_path / "config.json"
    path.write_text(document(0))
    source = FileSource(path)
    first = await source.fetch()
    ended = await source.fetch(etag=first.etag, wait_s=600)
    assert Fetched(status=FetchStatus.NOT_MODIFIED, etag=first.etag) == ended


def test_a_folder_that_cannot_be_watched(tmp_path: Path) -> None:
    """The reason is the kernel's."""
    with pytest.raises(OSError, match="No such file or directory"):
        RenameWatch(tmp_path / "absent")
