"""The SQLite database behind `SqliteStore`. Blocking; one thread at a time.

The database is in WAL mode with ``synchronous=FULL``: what was committed survives kill -9 and a
power failure. Only one control plane may open it, which a lock on a file beside it ensures; other
programs may read it meanwhile (``sqlite3 state.db ".backup copy.db"``).

Python's sqlite3 gives up the interpreter lock around each statement and row, and a busy event loop
takes 5 ms to give it back. So there are few statements: many rows in each, and the revisions of
all keys, which decide whether a commit conflicts, are kept in memory.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError
from compute_common.system.atomic_file import sync_folder
from control_plane.errors import ConflictError, StoreError
from control_plane.ports import Commit, Entry, Write
from control_plane.store.compare_and_swap import prepare
from control_plane.store.database_file import HINTS, lock, open_file

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x43504C4E
"""``CPLN``; `file` and this module recognise the database by it."""
SCHEMA: Final = (
    # The revision stands before the value, which may fill pages of its own.
    "CREATE TABLE entry (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL)",
    "CREATE TABLE store (revision INTEGER NOT NULL)",
    "INSERT INTO store VALUES (0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
UPSERT: Final = """
INSERT INTO entry (key, value, revision) VALUES ROWS
ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision
"""
DELETE: Final = "DELETE FROM entry WHERE key IN (KEYS)"
ROWS_PER_STATEMENT: Final = 256
CHECKPOINT_PAGES: Final = 1000
"""Pages of the log after which it is copied into the database; SQLite's own default."""
PAGE_BYTES: Final = 4096
MAX_LOG_BYTES: Final = 64 << 20
"""The log is cut to this size after a larger commit."""

Outcome = Commit | ConflictError | StoreError | ValueError


class Database:
    """An open database."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises SettingsError."""
        path = path.absolute()
        self._path = path
        self._lock = lock(path)
        try:
            self._connection = open_file(path)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, sqlite3.Error):
                message, hint = self._describe("open", error)
                raise SettingsError(message, hint=hint) from error
            raise

    def _prepare(self) -> None:
        version = self._number("PRAGMA user_version")
        known = self._number("PRAGMA application_id") == APPLICATION_ID
        if not known and self._number("SELECT count(*) FROM sqlite_schema"):
            raise SettingsError(
                f'store "{self._path}" is a database of another program',
                hint="Name another file with --store.",
            )
        if version > SCHEMA_VERSION:
            raise SettingsError(
                f'store "{self._path}" has schema version {version}, newer than {SCHEMA_VERSION}',
                hint="It was written by a newer control plane: start that one.",
            )
        if self._connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise SettingsError(f'store "{self._path}" cannot be switched to WAL mode')
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # `checkpoint` does it
        self._connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
        if not known:
            with self._transaction():
                for statement in SCHEMA:
                    self._connection.execute(statement)
            sync_folder(self._path.parent)
        with self._transaction():  # fails here where it cannot be written
            self.revision = self._number("SELECT revision FROM store")
        self._known: dict[str, int] | None = None
        self._foreign = self._number("PRAGMA data_version")
        """Changes with each commit of another program."""
        self._opened = self._identities()
        """Of the files; what is written to a file without a name is lost."""
        self._logged_pages: int = CHECKPOINT_PAGES  # after kill -9 there may be a log

    def _identities(self) -> list[tuple[int, int]]:
        """Return device and inode of the database and of its log, which are always there."""
        found = []
        for path in (self._path, self._path.with_name(f"{self._path.name}-wal")):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_dev, status.st_ino))
        return found

    @property
    def _revisions(self) -> dict[str, int]:
        """The revision of each key. Raises sqlite3.Error."""
        if self._known is None:
            self._known = dict(self._connection.execute("SELECT key, revision FROM entry"))
        return self._known

    def load(self, prefix: str) -> tuple[int, list[Entry]]:
        """Return the revision and the entries whose keys begin with *prefix*. Raises StoreError."""
        try:
            found = self._connection.execute(
                "SELECT key, value, revision FROM entry "
                "WHERE key >= :prefix AND substr(key, 1, length(:prefix)) = :prefix ORDER BY key",
                {"prefix": prefix},
            )
            entries = [
                Entry(key=key, value=value, revision=revision) for key, value, revision in found
            ]
        except sqlite3.Error as error:
            raise self._error("read", error) from error
        if not prefix and self._known is None:
            self._known = {entry.key: entry.revision for entry in entries}
        return self.revision, entries

    def commit(self, group: Sequence[Sequence[Write]]) -> list[Outcome]:
        """Make each commit of *group* or say why it cannot be made; one transaction for all.

        Where the transaction fails, each is tried in one of its own.
        """
        try:
            return self._commit_together(group)
        except sqlite3.Error as error:
            if len(group) == 1:
                return [self._error("write to", error)]
        return [outcome for writes in group for outcome in self.commit([writes])]

    def _commit_together(self, group: Sequence[Sequence[Write]]) -> list[Outcome]:
        changed: dict[str, Entry] = {}
        newest = self.revision
        outcomes: list[Outcome] = []

        def revision_of(key: str) -> int:
            if (entry := changed.get(key)) is not None:
                return entry.revision if entry.value is not None else 0
            return self._revisions.get(key, 0)

        for writes in group:
            try:
                commit = prepare(writes, revision_of=revision_of, newest=newest)
            except (ConflictError, ValueError) as refused:
                outcomes.append(refused)
                continue
            newest = commit.revision
            changed.update((entry.key, entry) for entry in commit.entries)
            outcomes.append(commit)
        if changed:
            with self._transaction():
                if self._number("PRAGMA data_version") != self._foreign:
                    raise sqlite3.OperationalError("another program has changed it; restart")
                if self._identities() != self._opened:
                    raise sqlite3.OperationalError("it was moved, replaced or deleted")
                self._write(changed, newest)
            self._note(changed, newest)
        return outcomes

    def _write(self, changed: dict[str, Entry], newest: int) -> None:
        execute = self._connection.execute
        for part in _parts([entry for entry in changed.values() if entry.value is not None]):
            rows = ", ".join(["(?, ?, ?)"] * len(part))
            execute(
                UPSERT.replace("ROWS", rows),
                [field for entry in part for field in (entry.key, entry.value, entry.revision)],
            )
        for part in _parts([entry for entry in changed.values() if entry.value is None]):
            marks = ", ".join("?" * len(part))
            execute(DELETE.replace("KEYS", marks), [entry.key for entry in part])
        execute("UPDATE store SET revision = ?", (newest,))

    def _note(self, changed: dict[str, Entry], newest: int) -> None:
        self.revision = newest
        for key, entry in changed.items():
            if entry.value is None:
                self._revisions.pop(key, None)
            else:
                self._revisions[key] = entry.revision
            self._logged_pages += 2 + len(entry.value or b"") // PAGE_BYTES

    @property
    def checkpoint_due(self) -> bool:
        """Whether the log should be copied into the database."""
        return self._logged_pages >= CHECKPOINT_PAGES

    def checkpoint(self) -> None:
        """Copy the log into the database, outside any commit. Raises StoreError."""
        self._logged_pages = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise self._error("write to", error) from error

    def close(self) -> None:
        """Close it, and let another process open it."""
        with closing(os.fdopen(self._lock)), suppress(sqlite3.Error):
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some errors have rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])

    def _error(self, verb: str, error: sqlite3.Error) -> StoreError:
        message, hint = self._describe(verb, error)
        return StoreError(message, hint=hint)

    def _describe(self, verb: str, error: sqlite3.Error) -> tuple[str, str | None]:
        name = getattr(error, "sqlite_errorname", "")
        hint = next((hint for begin, hint in HINTS.items() if name.startswith(begin)), None)
        return f'could not {verb} store "{self._path}": {error}', hint


def _parts(entries: list[Entry]) -> Iterator[list[Entry]]:
    for start in range(0, len(entries), ROWS_PER_STATEMENT):
        yield entries[start : start + ROWS_PER_STATEMENT]
