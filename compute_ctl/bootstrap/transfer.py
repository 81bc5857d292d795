"""One base backup from a pageserver into the staging folder; for a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compute_ctl.bootstrap.archive import unpack
from compute_ctl.bootstrap.copy_out import CopyOut
from compute_ctl.bootstrap.data_directory import CONFIGURATION, OURS
from compute_ctl.bootstrap.finish import finish
from compute_ctl.bootstrap.gunzip import Gunzip
from compute_ctl.errors import BackupError

_SKIP: Final = frozenset({CONFIGURATION})


@dataclass(frozen=True, kw_only=True, slots=True)
class Transferred:
    """What a transfer took, in seconds and bytes."""

    connect_s: float
    transfer_s: float
    """From the command to the last byte on its way to the disk."""
    bytes: int
    """As they came over the wire."""
    unpacked_bytes: int


def transfer(
    source: CopyOut, command: str, folder: Path, *, on_connected: Callable[[], None]
) -> Transferred:
    """Take the backup that *command* asks for, and complete the tree.

    Raises:
        BackupError: the pageserver, or what it sent.
        OSError: the disk.
    """
    began = time.monotonic()
    try:
        source.connect()
        connected = time.monotonic()
        on_connected()
        source.begin(command)
        unpacked = unpack(Gunzip(source), folder, skip=_SKIP, refuse=OURS)
    except BackupError as error:
        raise _naming(source, error) from None
    finally:
        source.close()
    finish(folder, standby=not source.request.is_primary)
    return Transferred(
        connect_s=connected - began,
        transfer_s=time.monotonic() - connected,
        bytes=source.received,
        unpacked_bytes=unpacked.bytes,
    )


def _naming(source: CopyOut, error: BackupError) -> BackupError:
    text = str(error)
    return error if source.node in text else BackupError(f"pageserver {source.node}: {text}")
