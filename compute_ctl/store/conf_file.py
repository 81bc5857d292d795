"""The one configuration file of Postgres that the daemon owns: read, check, replace.

Supervised, that is `postgresql.conf`; attached, it is `compute_ctl.conf`, which the operator's main
file includes at its end (`ensure_included` adds that line once). Replacing is `atomic_file`'s: a
symbolic link is kept and its target replaced; mode and owner stay.

A check runs the server's own binary on a staged file beside the live one, so that relative includes
mean the same. Attached, the staged file first includes the operator's main file, and through it the
old live file, whose errors are ignored. Custom settings (`neon.*`) are not checked: the binary
loads no library.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError
from compute_common.system.atomic_file import ReplacedFile, read_regular
from compute_ctl.decisions.proof import Complaint
from compute_ctl.errors import StoreError
from compute_ctl.store.conf_check import ARGUMENTS, Finding, findings, line_of
from compute_ctl.store.main_conf import include_line, includes, main_file, quote_path
from compute_ctl.store.referenced_files import check_referenced_files
from compute_ctl.store.staged_file import staged

_log = logging.getLogger(__name__)

MAX_BYTES: Final = 16 * 1024 * 1024
CHECK_TIMEOUT_S: Final = 5.0


class NotAskedError(StoreError):
    """The server's binary could not be asked about a candidate; the message is the reason."""


class UnfinishedError(NotAskedError):
    """It was asked, and did not finish."""


@dataclass(eq=False)
class ConfFile:
    """The live configuration file; methods may block on the disk, `check` up to 5 s."""

    path: Path
    """Absolute path of the file."""
    _: KW_ONLY
    pgdata: Path
    pgbin: str = "postgres"
    attach: bool = False
    config_file: Path | None = None
    """The operator's main file; None: as the server's command line says."""
    check_timeout_s: float = CHECK_TIMEOUT_S

    def __post_init__(self) -> None:
        self._file = ReplacedFile(self.path)

    def read(self) -> str | None:
        """Return its text, None if there is none. Raises StoreError.

        Bytes that are not UTF-8 are replaced, so that such a file does not match its marker.
        """
        try:
            raw = _read(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error("read", error) from error
        return raw.decode(errors="replace")

    def changed_at(self) -> datetime | None:
        """Return when it was last replaced or touched, None if unknown.

        The ctime counts, too: a rename sets it, while the mtime is from before the swap.
        """
        try:
            found = self.path.stat()
        except OSError:
            return None
        return datetime.fromtimestamp(max(found.st_mtime, found.st_ctime), UTC)

    def prepare(self) -> None:
        """Allocate the blocks of the next swap; a full disk is only a warning."""
        try:
            self._file.prepare()
        except OSError as error:
            _log.warning('could not reserve space beside "%s": %s', self.path, error.strerror)

    def swap(self, text: str) -> None:
        """Replace the file atomically: temp, fsync, rename.

        Raises:
            StoreError: the old content is still there.
        """
        try:
            self._file.replace(text.encode())
        except OSError as error:
            raise self._error("replace", error) from error

    def sync(self) -> None:
        """Make the last swap durable, and prepare the next one. Raises StoreError."""
        try:
            self._file.sync()
        except OSError as error:
            raise self._error("synchronize", error) from error
        self.prepare()

    def check(self, text: str) -> list[Complaint]:
        """Ask the server's own binary about a candidate, without touching the live file.

        Returns the errors it finds; none also where it could not be asked (no such binary, disk
        full), since the proof after the swap finds them, too. A check that does not finish is an
        error: the postmaster would hang in the same way. An error whose `file` is not `path` is in
        somebody else's file.
        """
        try:
            return self.judge(text)
        except UnfinishedError as error:
            reason = f'the check by "{self.pgbin}" did not come to an end: {error}'
            return [Complaint(name=None, reason=reason, file=str(self.path), unfinished=True)]
        except NotAskedError as error:
            _log.warning('could not check the configuration with "%s": %s', self.pgbin, error)
            return []

    def check_referenced_files(self, text: str) -> None:
        """Refuse a candidate that includes or names what is no regular file. Raises SpecError."""
        check_referenced_files(
            text, folder=self.path.parent, pgdata=self.pgdata, attach=self.attach
        )

    def judge(self, text: str) -> list[Complaint]:
        """Like `check`, but fail where the binary could not be asked.

        Raises:
            NotAskedError: it could not, or its output does not concern the candidate.
        """
        head = f"include '{quote_path(self._main_file())}'\n" if self.attach else ""
        try:
            with staged(self._file.target, self.path.name, head + text) as path:
                found = self._ask(path)
        except subprocess.TimeoutExpired as error:
            raise UnfinishedError(f"no answer within {error.timeout:g} s") from error
        except OSError as error:
            place = f'"{error.filename}": ' if error.filename else ""
            raise NotAskedError(f"{place}{error.strerror or error}") from error
        live = (self.read() or "") if self.attach else ""
        lines = len(head.splitlines())
        complaints = [self._complaint(one, text, live, path, lines) for one in found]
        return [complaint for complaint in complaints if complaint is not None]

    def ensure_included(self) -> bool:
        """Attached: make the operator's main file include ours; return whether it was changed.

        Supervised, ours is the main file.

        Raises:
            SettingsError: the line is missing and cannot be added; the hint is the line.
        """
        if not self.attach:
            return False
        main = self._main_file()
        line = include_line(self.path)
        try:
            text = _read(main).decode(errors="surrogateescape")
            if includes(text, self.path, folder=main.parent):
                return False
            if text and not text.endswith("\n"):
                text += "\n"
            file = ReplacedFile(main, keep_owner=True, reserve_bytes=0)
            file.replace(f"{text}{line}\n".encode(errors="surrogateescape"))
            file.sync()
        except OSError as error:
            raise SettingsError(
                f'could not make "{main}" include "{self.path}": {error.strerror or error}',
                hint=f'Add this line at the end of "{main}": {line}',
            ) from error
        return True

    def _main_file(self) -> Path:
        return main_file(self.pgdata, self.config_file)

    def _ask(self, candidate: Path) -> list[Finding]:
        command = [self.pgbin, "-C", "port", "-D", str(self.pgdata), *ARGUMENTS]
        done = subprocess.run(
            [*command, "-c", f"config_file={candidate}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=self.check_timeout_s,
            check=False,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
        if done.returncode == 0:
            return []
        if done.returncode < 0:
            raise UnfinishedError(f"ended by {signal.Signals(-done.returncode).name}")
        output = done.stderr.decode(errors="replace")
        found = findings(output)
        if not found:
            last = output.strip().rpartition("\n")[2]
            raise NotAskedError(f"exit status {done.returncode}" + (f": {last}" if last else ""))
        return found

    def _complaint(
        self, finding: Finding, text: str, live: str, candidate: Path, offset: int
    ) -> Complaint | None:
        """Return the complaint, None for one about the file that is replaced."""
        if finding.file == str(candidate):
            return Complaint(
                name=finding.name,
                reason=finding.reason,
                file=str(self.path),
                line=(finding.line or offset) - offset,
            )
        if self.attach and finding.file == str(self.path):
            return None
        if finding.name is not None and finding.file is None:
            line = line_of(finding.name, text)
            if line is not None:
                return Complaint(
                    name=finding.name, reason=finding.reason, file=str(self.path), line=line
                )
            if line_of(finding.name, live) is not None:
                return None
        return self._foreign(finding)

    def _foreign(self, finding: Finding) -> Complaint:
        """Return the complaint, which is about somebody else's file or about none."""
        file, line = finding.file, finding.line
        if file is None and finding.name is not None:
            for candidate in (self.pgdata / "postgresql.auto.conf", self._main_file()):
                with suppress(OSError):
                    line = line_of(finding.name, _read(candidate).decode(errors="replace"))
                if line is not None:
                    file = str(candidate)
                    break
        return Complaint(name=finding.name, reason=finding.reason, file=file, line=line)

    def _error(self, verb: str, error: OSError) -> StoreError:
        return StoreError(f'could not {verb} file "{self.path}": {error.strerror or error}')


def _read(path: Path) -> bytes:
    return read_regular(path, max_bytes=MAX_BYTES)
