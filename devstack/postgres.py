"""A real Postgres server for one test: its own folder, port and socket.

Postgres refuses to run as root, so when the tests do, only the server's processes change user
(`os_user`); Python stays who it is.  ``Template`` runs initdb once, every ``Postgres`` is a copy.
The server is started directly, without pg_ctl, so its exit status and every signal are ours.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

import psycopg

from devstack.installation import (
    binary,
    free_port,
    give_away,
    make_folder,
    run_as,
)
from devstack.wait import TIMEOUT_S, wait_until

START_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0
LOG_TAIL_LINES = 80
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

INITDB_OPTIONS = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]

BASE_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "log_line_prefix": "%m [%p] %b ",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "log_min_messages": "info",
}

StopMode = Literal["smart", "fast", "immediate"]
Setting = str | int | float | bool


def quote(value: Setting) -> str:
    """*value* as postgresql.conf wants it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def ready_pid(data: Path) -> int | None:
    """Return the process of the server of a data directory, None unless it takes connections."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    return int(lines[0]) if len(lines) >= 8 and lines[7].strip() in ("ready", "standby") else None


class Template:
    """A data directory made by initdb once, to be copied."""

    def __init__(self) -> None:
        self.folder = make_folder("pgt-")
        self.data = self.folder / "data"
        subprocess.run(
            [binary("initdb"), "-D", str(self.data), *INITDB_OPTIONS],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
            **run_as(),
        )
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("include_if_exists = 'test.conf'\n")

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres:
    """One cluster.  Use it as a context manager, or call :meth:`stop` and :meth:`remove`."""

    user = "postgres"
    dbname = "postgres"
    maintenance_dbname = "postgres"
    template_dbname = "template1"
    password = ""
    options = ""

    def __init__(self, template: Template | Path, *, name: str = "pg") -> None:
        self.name = name
        self.folder = make_folder(f"pg-{name[:12]}-")
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.host = str(self.folder)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, Setting] = {}
        source = template.data if isinstance(template, Template) else template
        # as its owner, which costs less than to give the copy away, file by file
        copy = ["cp", "-R", str(source), str(self.data)]
        subprocess.run(copy, check=True, umask=0o077, cwd="/", **run_as())
        self.configure({**BASE_SETTINGS, "port": self.port, "unix_socket_directories": self.host})

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the postmaster lives."""
        return self.process is not None and self.process.poll() is None

    def configure(self, settings: Mapping[str, Setting | None]) -> None:
        """Add *settings* to those of this server's test.conf; None removes one.  No reload."""
        for key, value in settings.items():
            self._settings.pop(key, None)
            if value is not None:
                self._settings[key] = value
        text = "".join(f"{key} = {quote(value)}\n" for key, value in self._settings.items())
        temporary = self.data / "test.conf.tmp"
        temporary.write_text(text)
        give_away(temporary)
        temporary.replace(self.data / "test.conf")

    def start(
        self,
        *,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        wait: bool = True,
    ) -> Self:
        """Start the server and wait until it accepts connections (a standby: read-only ones)."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary("postgres"), "-D", str(self.data), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, **(env or {})},
                **run_as(),
            )
        if wait:
            wait_until(f"server {self.name} to be ready", self._ready, START_TIMEOUT)
        return self

    def _ready(self) -> bool:
        if not self.running:
            raise AssertionError(f"server {self.name} did not start:\n{self.log_tail()}")
        return ready_pid(self.data) == self.pid

    def stop(self, mode: StopMode = "fast", timeout: float = STOP_TIMEOUT) -> float:
        """Stop the server; return how many seconds it took."""
        begin = time.monotonic()
        if self.process is not None and self.running:
            self.process.send_signal(STOP_SIGNALS[mode])
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"server {self.name} did not stop ({mode}) within {timeout:g} s"
                ) from None
        return time.monotonic() - begin

    def kill(self) -> None:
        """End the postmaster by SIGQUIT, then by SIGKILL, whatever it does."""
        if self.process is None or not self.running:
            return
        self.process.send_signal(signal.SIGQUIT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(6)
            return
        self.process.kill()
        self.process.wait(5)

    def reload(self) -> None:
        """Send SIGHUP to the postmaster; does not wait for its effect."""
        os.kill(self.pid, signal.SIGHUP)

    def connect(self, **parameters: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Open an autocommit connection over the socket; *parameters* go to psycopg."""
        defaults: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "dbname": self.dbname,
            "autocommit": True,
            "connect_timeout": 60,
        }
        return psycopg.connect(**{**defaults, **parameters})

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run one statement on a fresh connection and return its rows (none for a command)."""
        with self.connect() as connection:
            cursor = connection.execute(sql.encode(), arguments or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, *arguments: Any) -> Any:
        """First column of the first row of *sql*; None for no row."""
        rows = self.query(sql, *arguments)
        return rows[0][0] if rows else None

    def dsn(self, dbname: str | None = None) -> str:
        """Connection string over TCP."""
        return f"host=127.0.0.1 port={self.port} user={self.user} dbname={dbname or self.dbname}"

    @property
    def conninfo(self) -> str:
        """Connection string over the socket."""
        return f"host={self.host} port={self.port} user={self.user} dbname={self.dbname}"

    def log_text(self, start: int = 0) -> str:
        """Return the server log from byte *start* on."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[start:].decode(errors="replace")

    def log_position(self) -> int:
        """Size of the server log now: a mark for ``start`` of the other log methods."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines of the server log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def log_contains(self, pattern: str, start: int = 0) -> int:
        """How many matches of the regular expression *pattern* the log has."""
        return len(re.findall(pattern, self.log_text(start), re.MULTILINE))

    def wait_log(self, pattern: str, timeout: float = TIMEOUT_S, start: int = 0) -> None:
        """Wait until the log matches *pattern*."""
        wait_until(
            f"{pattern!r} in the log of {self.name}",
            lambda: self.log_contains(pattern, start),
            timeout,
        )

    def remove(self) -> None:
        """Delete the folder; the server must be stopped."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.remove()
