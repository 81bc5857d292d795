"""A folder that is kept up to date as the kubelet keeps the mount of a ConfigMap."""

import shutil
from itertools import count
from pathlib import Path

from devstack.installation import give_away


class ConfigMapMount:
    """One mount with one file."""

    def __init__(self, folder: Path, *, key: str = "config.json") -> None:
        self._folder = folder
        self._numbers = count(1)
        self.path = folder / key
        folder.mkdir()
        give_away(folder)

    def write(self, text: str) -> None:
        """Replace the content of the file, as the kubelet's `AtomicWriter` does."""
        link = self._folder / "..data"
        old = link.readlink() if link.is_symlink() else None
        new = self._folder / f"..2026_01_02.{next(self._numbers)}"
        new.mkdir()
        (new / self.path.name).write_text(text)
        for path in (new, new / self.path.name):
            give_away(path)
        temporary = self._folder / "..data_tmp"
        temporary.symlink_to(new.name)
        temporary.replace(link)
        if old is None:
            self.path.symlink_to(Path("..data") / self.path.name)
        else:
            shutil.rmtree(self._folder / old)
