"""The stores of a simulated daemon, on the simulated disk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from compute_ctl.decisions.persistent_state import PersistentState
from compute_ctl.decisions.proof import Complaint
from compute_ctl.errors import StoreError
from tests.simulation import rules
from tests.simulation.disk import CONF, GENERATIONS, KEPT, STATE, TOKEN, Disk


class Fence:
    """Lets no call of a killed daemon reach the disk."""

    def __init__(self) -> None:
        self.up = False

    def check(self) -> None:
        """Raise StoreError if the process is gone."""
        if self.up:
            raise StoreError("this process was killed")


class SimConfStore:
    """The live file; a stand-in for `ConfFile`."""

    def __init__(self, disk: Disk, fence: Fence, *, check_answers: bool) -> None:
        self._disk = disk
        self._fence = fence
        self._check_answers = check_answers
        self.path = Path("/pgdata") / CONF

    def ensure_included(self) -> bool:
        """Never do anything: nobody removes the line."""
        return False

    def prepare(self) -> None:
        """Allocate the blocks of the next swap."""
        self._disk.reserve(CONF)

    def read(self) -> str | None:
        """Return the text, None if there is none."""
        self._fence.check()
        return self._disk.files.get(CONF)

    def changed_at(self) -> datetime | None:
        """Return when it was last replaced."""
        self._fence.check()
        return self._disk.changed_at.get(CONF)

    def check(self, text: str) -> list[Complaint]:
        """Return what the server's binary would find wrong, if it is there to be asked."""
        self._fence.check()
        if not self._check_answers or self._disk.full:
            return []
        return [
            Complaint(name=name, reason=reason, file=str(self.path), line=line)
            for name, reason, line in rules.complaints(text)
            if "." not in (name or "")  # no library is loaded
        ]

    def check_referenced_files(self, text: str) -> None:
        """Accept all: there are no other files."""

    def swap(self, text: str) -> None:
        """Replace the file."""
        self._fence.check()
        try:
            self._disk.replace(CONF, text)
        except OSError as error:
            raise StoreError(f"could not replace file: {error}") from error

    def sync(self) -> None:
        """Make the swap durable."""
        self._fence.check()
        self._disk.sync("")
        self.prepare()


class SimStateStore:
    """The state folder; a stand-in for `StateDir`."""

    def __init__(self, disk: Disk, fence: Fence) -> None:
        self._disk = disk
        self._fence = fence
        self.token_path = Path("/pgdata") / TOKEN

    def open(self) -> None:
        """Allocate the blocks of the next save."""
        self._disk.reserve(STATE)

    def load(self) -> PersistentState:
        """Return what is known; an empty State where it is unreadable."""
        self._fence.check()
        text = self._disk.files.get(STATE)
        try:
            return (
                msgspec.json.decode(text, type=PersistentState)
                if text is not None
                else PersistentState()
            )
        except msgspec.DecodeError:
            self._disk.put(STATE, None)
            return PersistentState()

    def save(self, state: PersistentState) -> None:
        """Replace state.json durably."""
        self._fence.check()
        try:
            self._disk.replace(STATE, msgspec.json.encode(state).decode())
        except OSError as error:
            raise StoreError(f"could not write state: {error}") from error
        self._disk.sync("compute_ctl")
        self._disk.reserve(STATE)

    def put_generation(self, number: int, *, document: bytes, conf: str) -> None:
        """Keep a generation."""
        self._fence.check()
        try:
            self._disk.replace(f"{GENERATIONS}{number}.json", document.decode(), durable=False)
            self._disk.replace(f"{GENERATIONS}{number}.conf", conf, durable=False)
        except OSError as error:
            raise StoreError(f"could not keep generation {number}: {error}") from error

    def sync_generation(self, number: int) -> None:
        """Make a generation survive a power failure."""
        self._fence.check()
        for suffix in ("json", "conf"):
            self._disk.sync_content(f"{GENERATIONS}{number}.{suffix}")
        self._disk.sync(GENERATIONS.rstrip("/"))

    def get_generation(self, number: int) -> tuple[bytes, str] | None:
        """Return (document, file text), None where one is missing."""
        self._fence.check()
        document = self._disk.files.get(f"{GENERATIONS}{number}.json")
        conf = self._disk.files.get(f"{GENERATIONS}{number}.conf")
        return None if document is None or conf is None else (document.encode(), conf)

    def has_generation(self, number: int) -> bool:
        """Return whether both files are there."""
        return self.get_generation(number) is not None

    def remake_if_lost(self) -> bool:
        """Never do anything: nobody removes the folder."""
        return False

    def token(self) -> str | None:
        """Return the storage token."""
        self._fence.check()
        return self._disk.files.get(TOKEN)

    def put_token(self, token: str | None) -> None:
        """Replace or remove the storage token."""
        self._fence.check()
        try:
            if token is None:
                self._disk.remove(TOKEN)
            else:
                self._disk.replace(TOKEN, token)
        except OSError as error:
            raise StoreError(f"could not write the token: {error}") from error

    def set_aside(self) -> Path | None:
        """Never called: the cluster is always the same one."""
        raise AssertionError("the state folder was taken for another cluster's")

    def _numbers(self) -> set[int]:
        names = [name.removeprefix(GENERATIONS) for name in self._disk.files]
        stems = [name.partition(".") for name in names if "/" not in name]
        return {int(stem) for stem, _, end in stems if stem.isdigit() and end in ("json", "conf")}

    def generations(self) -> tuple[int, ...]:
        """Return the numbers kept, the newest first."""
        self._fence.check()
        return tuple(sorted(self._numbers(), reverse=True))

    def drop(self, number: int) -> None:
        """Drop a generation."""
        self._fence.check()
        for suffix in ("conf", "json"):
            self._disk.remove(f"{GENERATIONS}{number}.{suffix}")

    def highest_generation(self) -> int:
        """Return the highest number kept."""
        self._fence.check()
        return max(self._numbers(), default=0)

    def prune(self, keep: frozenset[int]) -> None:
        """Drop old generations."""
        self._fence.check()
        for number in sorted(set(sorted(self._numbers())[:-KEPT]) - keep):
            self.drop(number)

    def add_history(self, entry: Mapping[str, object]) -> None:
        """Keep no history."""

    def last_attempt(self) -> int:
        """There is no history."""
        return 0
