"""What a commit does to a store. Pure; the same for every store that decides it itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from control_plane.errors import ConflictError
from control_plane.ports import Commit, Entry, Write


def prepare(writes: Sequence[Write], *, revision_of: Callable[[str], int], newest: int) -> Commit:
    """Return the commit that *writes* make after revision *newest*.

    *revision_of* gives the revision of a key, 0 where it does not exist. A commit that changes
    nothing (no writes, or only deletions of keys that do not exist) has no entries and keeps the
    revision *newest*, as in etcd.

    Raises:
        ConflictError: a key does not have the expected revision.
        ValueError: a key is empty, has a NUL, or stands twice.
    """
    entries = []
    seen: set[str] = set()
    for write in writes:
        key, found = write.key, revision_of(write.key)
        if not key or "\0" in key or key in seen:
            raise ValueError(f"a commit cannot write key {key!r}: empty, with a NUL, or twice")
        seen.add(key)
        if write.expected is not None and write.expected != found:
            raise ConflictError(
                f'key "{key}" has revision {found}, expected was {write.expected}'
                if found
                else f'key "{key}" does not exist, expected was revision {write.expected}'
            )
        if write.value is not None or found:
            entries.append(Entry(key=key, value=write.value, revision=newest + 1))
    return Commit(revision=newest + 1 if entries else newest, entries=tuple(entries))
