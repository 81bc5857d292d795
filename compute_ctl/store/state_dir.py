"""The state folder: lock, generations, state and history.

    lock                     flock held as long as the daemon lives; its content is the pid
    g/<G>.json  g/<G>.conf   document and configuration file of a generation; immutable
    state.json               what must survive the daemon (see `PersistentState`)
    history.jsonl  .1        advisory
    aside-<n>/               the files of another cluster that used this folder before

The folder is 0700 and every file 0600: documents hold secrets. All methods but `open` need the
lock. A corrupt state.json is set aside and not fatal: the live configuration file and `g/` are
enough to go on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from compute_common.errors import SettingsError
from compute_common.system.atomic_file import ReplacedFile, read_regular, sync_file, sync_folder
from compute_ctl.decisions.persistent_state import PersistentState
from compute_ctl.errors import StoreError
from compute_ctl.store import history

_log = logging.getLogger(__name__)

KEPT_GENERATIONS: Final = 5
MAX_FILE_BYTES: Final = 16 * 1024 * 1024


class StateDir:
    """The state folder of one daemon."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._generations = folder / "g"
        self._state = ReplacedFile(folder / "state.json")
        self._lock_fd: int | None = None

    @property
    def folder(self) -> Path:
        """The state folder."""
        return self._folder

    def open(self) -> None:
        """Make the folder where it is missing, and take the lock.

        Raises:
            SettingsError: another daemon has the lock, or the folder cannot be used.
        """
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._check_folder()
            self._generations.mkdir(mode=0o700, exist_ok=True)
            self._take_lock()
        except OSError as error:
            raise SettingsError(
                f'could not use state directory "{self._folder}": {error.strerror or error}'
            ) from error
        with suppress(OSError):  # a full disk must not prevent a start
            self._state.prepare()

    def remake_if_lost(self) -> bool:
        """Make folder and lock again if they were removed; return whether they were.

        Raises:
            SettingsError: it cannot be made, or another daemon has it now.
        """
        if self._lock_fd is not None and self._has_lock_file(os.fstat(self._lock_fd)):
            return False
        self.close()
        self.open()
        return True

    def _has_lock_file(self, held: os.stat_result) -> bool:
        try:
            found = (self._folder / "lock").lstat()
            return self._generations.is_dir() and os.path.samestat(found, held)
        except OSError:
            return False

    def close(self) -> None:
        """Release the lock."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def load(self) -> PersistentState:
        """Return the state saved last; an empty one where none is usable."""
        path = self._folder / "state.json"
        try:
            raw = _read(path)
        except FileNotFoundError:
            return PersistentState()
        except OSError as error:
            self._set_corrupt_aside(path, str(error.strerror or error))
            return PersistentState()
        try:
            return msgspec.json.decode(raw, type=PersistentState)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._set_corrupt_aside(path, str(error))
            return PersistentState()

    def save(self, state: PersistentState) -> None:
        """Replace state.json atomically and durably. Raises StoreError."""
        path = self._folder / "state.json"
        try:
            self._state.replace(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
            self._state.sync()
        except OSError as error:
            raise StoreError(f'could not write file "{path}": {error.strerror or error}') from error
        with suppress(OSError):
            self._state.prepare()

    @property
    def token_path(self) -> Path:
        """Absolute path of the file that holds the storage token."""
        return self._folder / "storage_token"

    def token(self) -> str | None:
        """Return the storage token kept there, None for none."""
        try:
            return _read(self.token_path).decode().strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def put_token(self, token: str | None) -> None:
        """Replace the storage token atomically (mode 0600), or remove it. Raises StoreError."""
        try:
            if token is None:
                self.token_path.unlink(missing_ok=True)
            else:
                ReplacedFile(self.token_path, reserve_bytes=0).replace(f"{token}\n".encode())
        except OSError as error:
            raise StoreError(
                f'could not write file "{self.token_path}": {error.strerror or error}'
            ) from error

    def put_generation(self, number: int, *, document: bytes, conf: str) -> None:
        """Keep a generation; it survives a power failure after `sync_generation`.

        Raises StoreError.
        """
        try:
            # The .conf comes last: a generation counts as kept only when both are there.
            self._put(f"{number}.json", document)
            self._put(f"{number}.conf", conf.encode())
        except OSError as error:
            raise StoreError(
                f'could not keep generation {number} in "{self._generations}": '
                f"{error.strerror or error}"
            ) from error

    def sync_generation(self, number: int) -> None:
        """Make a kept generation survive a power failure. Raises StoreError."""
        try:
            for suffix in ("json", "conf"):
                sync_file(self._generations / f"{number}.{suffix}")
            sync_folder(self._generations)
        except OSError as error:
            raise StoreError(
                f'could not synchronize generation {number} in "{self._generations}": '
                f"{error.strerror or error}"
            ) from error

    def get_generation(self, number: int) -> tuple[bytes, str] | None:
        """Return (document, file text) of a kept generation, None if gone or unreadable."""
        try:
            document = _read(self._generations / f"{number}.json")
            conf = _read(self._generations / f"{number}.conf").decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            _log.warning('could not read generation %d in "%s": %s', number, self._folder, error)
            return None
        return document, conf

    def has_generation(self, number: int) -> bool:
        """Return whether both files of a generation are kept."""
        return all((self._generations / f"{number}.{end}").is_file() for end in ("json", "conf"))

    def highest_generation(self) -> int:
        """Return the highest number ever kept in the folder, 0 for none."""
        return max(self._numbers(), default=0)

    def generations(self) -> tuple[int, ...]:
        """Return the numbers of the generations kept, the newest first."""
        return tuple(sorted(set(self._numbers()), reverse=True))

    def prune(self, keep: frozenset[int]) -> None:
        """Drop all but the last five generations and those in *keep*. Never raises."""
        for number in set(self.generations()[KEPT_GENERATIONS:]) - keep:
            self.drop(number)

    def drop(self, number: int) -> None:
        """Drop a generation. Never raises."""
        for suffix in ("conf", "json"):
            with suppress(OSError):
                (self._generations / f"{number}.{suffix}").unlink(missing_ok=True)

    def add_history(self, entry: Mapping[str, object]) -> None:
        """Append a line to the advisory history. Never raises."""
        history.append(self._folder, entry)

    def last_attempt(self) -> int:
        """Return the number of the last attempt in the history, 0 for none. Never raises."""
        return history.last_attempt(self._folder)

    def set_aside(self) -> Path | None:
        """Move everything but the lock into a new folder: it belongs to another cluster.

        Returns that folder, None where there was nothing to move.

        Raises:
            StoreError: it could not be moved; then nothing may be written.
        """
        names = ("state.json", "storage_token", "g", "history.jsonl", "history.jsonl.1")
        found = [self._folder / name for name in names if os.path.lexists(self._folder / name)]
        if found == [self._generations] and not any(self._generations.iterdir()):
            return None
        try:
            aside = _unused(self._folder / "aside")
            aside.mkdir(mode=0o700)
            for path in found:
                path.rename(aside / path.name)
            self._generations.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._folder)
        except OSError as error:
            raise StoreError(
                f'could not set aside state directory "{self._folder}": {error.strerror or error}'
            ) from error
        return aside

    def _check_folder(self) -> None:
        """Refuse a folder in which another user could replace files."""
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise SettingsError(f'state directory "{self._folder}" is not a directory')
        if found.st_uid != os.geteuid():
            raise SettingsError(
                f'state directory "{self._folder}" belongs to user ID {found.st_uid}, '
                f"not to {os.geteuid()}",
                hint=f'chown -R {os.geteuid()} "{self._folder}"',
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            self._folder.chmod(0o700)

    def _take_lock(self) -> None:
        path = self._folder / "lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise SettingsError(
                f'another compute_ctl (pid {holder}) manages state directory "{self._folder}"',
                hint=f'Ask it: "compute_ctl status --state-dir {self._folder}". Stop it first.',
            ) from None
        self._lock_fd = fd
        with suppress(OSError):  # the pid is only for the message above
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def _put(self, name: str, data: bytes) -> None:
        ReplacedFile(self._generations / name).replace(data, durable=False)

    def _numbers(self) -> Iterator[int]:
        with suppress(OSError):
            for path in self._generations.iterdir():
                stem, _, suffix = path.name.partition(".")
                if suffix in ("conf", "json") and stem.isascii() and stem.isdigit():
                    yield int(stem)

    @staticmethod
    def _set_corrupt_aside(path: Path, reason: str) -> None:
        aside = _unused(path.with_name("state.json.corrupt"))
        with suppress(OSError):
            path.rename(aside)
        _log.warning('file "%s" is unusable and was set aside as "%s": %s', path, aside, reason)


def _unused(stem: Path) -> Path:
    """Return the first name ``stem-1``, ``stem-2`` ... that does not exist yet."""
    number = 1
    while os.path.lexists(path := stem.with_name(f"{stem.name}-{number}")):
        number += 1
    return path


def _read(path: Path) -> bytes:
    return read_regular(path, max_bytes=MAX_FILE_BYTES, follow=False)
