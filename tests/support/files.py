"""Small questions about files."""

from pathlib import Path


def names(folder: Path) -> list[str]:
    """Return the names in *folder*, sorted."""
    return sorted(path.name for path in folder.iterdir())
