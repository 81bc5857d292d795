"""What a compute adds to the base backup of its pageserver, in the staging folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

HBA_FILE: Final = "pg_hba.conf"
HBA_LINE: Final = "host all all all md5"
"""Passwords over TCP from anywhere; of SCRAM, too, where the role has such a verifier."""
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 (not a temporary file)


def finish(folder: Path, *, standby: bool) -> None:
    """Complete the tree as Neon's compute_ctl does; *standby*: the compute only reads.

    Raises:
        OSError: the disk refused.
    """
    _let_passwords_in(folder / HBA_FILE)
    dynamic = folder / "pg_dynshmem"
    if SHARED_MEMORY.is_dir():
        if dynamic.is_dir():
            shutil.rmtree(dynamic)
        dynamic.symlink_to(SHARED_MEMORY)
    else:
        dynamic.mkdir(mode=0o700, exist_ok=True)
    old, new = folder / "zenith.signal", folder / "neon.signal"
    if old.exists() and not new.exists():
        old.rename(new)
    if standby:
        (folder / "standby.signal").touch(mode=0o600)


def _let_passwords_in(path: Path) -> None:
    text = path.read_text(errors="surrogateescape") if path.exists() else ""
    if HBA_LINE in text.splitlines():
        return
    if text and not text.endswith("\n"):
        text += "\n"
    path.write_text(f"{text}{HBA_LINE}\n", errors="surrogateescape")
    path.chmod(0o600)
