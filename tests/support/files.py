"""Small questions about files."""

from contextlib import suppress
from pathlib import Path


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
