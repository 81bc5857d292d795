"""A small disk that can be filled: by the fixture `disk`, or for a longer play."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.installation import give_away, make_folder

SIZE = "1m"


class Disk:
    """A mounted folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Take all that is left."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while file.write(b"\0" * size):
                        pass
                except OSError:
                    continue

    def make_read_only(self) -> None:
        """Take no more writes, as a disk that the kernel has met errors on."""
        command = ["mount", "-o", "remount,ro", str(self.folder)]
        subprocess.run(command, timeout=10, check=True)

    def free(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(size: str = SIZE) -> Iterator[Disk | str]:
    """Mount one; where that cannot be done, the reason comes in its place."""
    folder = make_folder("small-disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        said = done.stderr.strip() or f"mount ended with status {done.returncode}"
        failure = said.splitlines()[0] if done.returncode else ""
    except OSError as error:
        failure = str(error)
    if failure:
        folder.rmdir()
        yield f"cannot mount a small disk: {failure}"
        return
    give_away(folder)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], timeout=10, check=True)
        folder.rmdir()
