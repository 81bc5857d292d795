"""Which store an operator has named."""

from __future__ import annotations

from pathlib import Path

from compute_common.errors import SettingsError
from control_plane.ports import Store
from control_plane.store.sqlite import SqliteStore


async def open_store(uri: str) -> Store:
    """Open the store *uri*: the path of an SQLite file.

    Raises:
        SettingsError: it cannot be used.
    """
    scheme, separator, _ = uri.partition("://")
    if separator:
        raise SettingsError(
            f'store "{scheme}://" is not supported yet',
            hint="Name the path of an SQLite file, which is created when absent.",
        )
    if not uri:
        raise SettingsError("the path of the store is empty")
    return await SqliteStore.open(Path(uri))
