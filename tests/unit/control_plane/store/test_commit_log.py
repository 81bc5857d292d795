"""How far back the commits are known to those who watch."""

import pytest

from control_plane.errors import CompactedError
from control_plane.ports import Commit, Entry
from control_plane.store.commit_log import CommitLog


def commit(revision: int, size: int = 1) -> Commit:
    """A commit with a value of *size* bytes."""
    entry = Entry(key="a", value=b"x" * size, revision=revision)
    return Commit(revision=revision, entries=(entry,))


async def known(log: CommitLog) -> list[int]:
    """Return the revisions after which a watch finds a commit."""
    found = []
    for after in range(log.newest):
        watch = log.watch(after)
        try:
            await anext(watch)
            found.append(after)
        except CompactedError:
            pass
        await watch.aclose()
    return found


async def test_the_newest_commits_are_kept() -> None:
    """A watch can begin after a revision whose successor is still there."""
    log = CommitLog(4, max_commits=3)
    for revision in range(5, 11):
        log.append(commit(revision))
    assert [7, 8, 9] == await known(log)


async def test_large_commits_push_out_earlier_ones() -> None:
    """Bytes are bounded too; the newest commit stays whatever its size."""
    log = CommitLog(6, max_bytes=100)
    for size in (60, 30, 20):
        log.append(commit(log.newest + 1, size))
    assert [7, 8] == await known(log)
    log.append(commit(10, 500))
    assert [9] == await known(log)


async def test_a_watch_that_is_left_behind_is_told() -> None:
    """It does not go on with a gap."""
    log = CommitLog(0, max_commits=2)
    watch = log.watch(0)
    log.append(commit(1))
    assert 1 == (await anext(watch)).revision
    for revision in (2, 3, 4):
        log.append(commit(revision))
    with pytest.raises(CompactedError, match="after revision 1 "):
        await anext(watch)
