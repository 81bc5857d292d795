"""Small questions about files."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from compute_common.system.file_limit import raise_file_limit


def names(folder: Path) -> list[str]:
    """Return the names in *folder*, sorted."""
    return sorted(path.name for path in folder.iterdir())


def descriptors(pid: int) -> list[str]:
    """Return what the descriptors of a process refer to; one closed meanwhile does not count."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return found


@contextmanager
def open_files(needed: int) -> Iterator[None]:
    """Let this process open so many files; the test is skipped where it may not."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if raise_file_limit(needed) < needed:
        pytest.skip(f"needs {needed} open files, {before[1]} are allowed")
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
