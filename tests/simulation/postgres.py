"""A server that reads the simulated disk: reload, restart, what it says over SQL."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime, timedelta
from math import inf
from typing import TYPE_CHECKING

from compute_ctl.decisions.reload_errors import SAID, Part, ReloadError
from compute_ctl.decisions.sql_report import FileSetting, PendingRestart, Running, SqlReport
from compute_ctl.postgres import Events
from tests.simulation import rules
from tests.simulation.disk import CONF

if TYPE_CHECKING:
    from tests.simulation.world import World

AUTO_CONF = "/pgdata/postgresql.auto.conf"
MAIN_CONF = "/pgdata/postgresql.conf"
PATH = f"/pgdata/{CONF}"


class SimPostgres:
    """The postmaster, and what it runs with."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.up = False
        self.ready = False
        self.begun = False
        """It has loaded its libraries."""
        self.pid: int | None = None
        self.conf: dict[str, str] = {}
        """What is in force."""
        self.started_with: dict[str, str] = {}
        """Restart-only settings."""
        self.pending: set[str] = set()
        self.load_time: datetime = world.wall()
        self.started_at: datetime = world.wall()
        self._started_monotonic = world.monotonic()
        self.overrides: dict[str, str] = {}
        """ALTER SYSTEM; in force from the next reload or start on."""
        self._loaded_overrides: dict[str, str] = {}
        self.typo_elsewhere = False
        """The operator's own file cannot be read."""
        self.tls_failed = False
        """The postmaster has said that the last reload did not bring in TLS."""
        self.log: Events | None = None
        """Told what the server's log says of reloads, by the daemon that reads it."""
        self.starts = 0
        self.came_up_with: set[str] = set()
        """The markers that it has been started with, and accepted connections."""
        self.ran: dict[str, float] = {}
        """When each marker was in force last; infinity for the one that is."""
        self.changed = asyncio.Event()
        """Set when what is in force may have changed."""

    @property
    def running(self) -> bool:
        """Whether the process exists."""
        return self.up

    @property
    def marker(self) -> str:
        """The marker in force."""
        return self.conf.get(rules.MARKER, "")

    @property
    def pageserver(self) -> str:
        """The list in force."""
        return self.conf.get(rules.CONNSTRING, "")

    def map_sha256(self) -> str:
        """Return the name of the published shard map, as the worker computes it."""
        text = f"{self.marker}\n{self.conf.get(rules.STRIPE, '2048')}\n{self.pageserver}"
        return hashlib.sha256(text.encode()).hexdigest()

    # SimDaemon

    def start(self) -> bool:
        """Start, if the configuration lets it."""
        text = self._world.disk.files.get(CONF) or ""
        self._world.invariants.server_starts(text)
        wanted = rules.values(text) | self.overrides
        hangs = rules.hangs(wanted) and not rules.complaints(text)
        if self.up or self.typo_elsewhere or not (hangs or rules.startable(text)):
            return False
        self.up, self.ready, self.pending, self.begun = True, False, set(), not hangs
        self.tls_failed = False
        self.starts += 1
        self.started_at = self._world.wall()
        self._started_monotonic = self._world.monotonic()
        self.pid = 4000 + self.starts
        self.started_with = {
            name: wanted.get(name, rules.DEFAULTS[name]) for name in rules.RESTART_ONLY
        }
        if hangs:
            self.conf, self._loaded_overrides = {}, {}
            return True
        self.conf, self._loaded_overrides = wanted, dict(self.overrides)
        self._in_force()
        self._world.later(self._world.rng.uniform(0.05, 3.0), self._accept, self.pid, self.marker)
        return True

    def _accept(self, pid: int, marker: str) -> None:
        if self.up and self.pid == pid:
            self.ready = True
            if marker:
                self.came_up_with.add(marker)
            self._world.invariants.starts.helped()
            self.changed.set()

    def crash(self) -> None:
        """Be down for a moment, and run on with the same configuration."""
        self.ready = False
        self._world.later(self._world.rng.uniform(0.1, 1.5), self._accept, self.pid, "")

    def stop(self) -> None:
        """End, however."""
        self._ran_until_now()
        self.up = self.ready = False
        self.pid = None
        self.changed.set()

    # Configuration

    def reload(self) -> bool:
        """Take a SIGHUP; it is acted on a little later."""
        if not self.up:
            return False
        slow = self._world.rng.random() < 0.02
        self._world.later(
            self._world.rng.uniform(0.0, 1.5 if slow else 0.01), self._reload, self.pid
        )
        return True

    def _reload(self, pid: int) -> None:
        if not self.up or self.pid != pid or not self.begun:
            return
        self.tls_failed = False
        if self.log is not None:
            self.log.on_reload()
        text = self._world.disk.files.get(CONF) or ""
        if not self.typo_elsewhere and not any(row.refuses_all for row in rules.rows(text)):
            self._take(text)
        self._in_force()
        if rules.lacks_certificate(self.conf):  # said after the children were signalled
            self._world.later(self._world.rng.uniform(0.0, 0.01), self._keep_old_tls, self.marker)

    def _keep_old_tls(self, marker: str) -> None:
        if not self.up or self.marker != marker or not rules.lacks_certificate(self.conf):
            return
        self.tls_failed = True
        if self.log is not None:
            self.log.on_not_reloaded(ReloadError(part=Part.SSL, text=SAID[Part.SSL], marker=marker))
        self.changed.set()

    def _take(self, text: str) -> None:
        self.load_time = self._world.wall()
        wanted = rules.values(text) | self.overrides
        bad = {row.name for row in rules.rows(text) if row.error is not None and row.name}
        kept = {name: self.conf[name] for name in bad & self.conf.keys() if name not in wanted}
        self.pending = {
            name
            for name, value in self.started_with.items()
            if wanted.get(name, rules.DEFAULTS[name]) != value
        }
        self.conf, self._loaded_overrides = wanted | kept, dict(self.overrides)

    def started_after(self, at: datetime) -> bool:
        """Whether it was started later than *at*, by what it noted and by what the kernel says.

        The kernel's time of a start follows a clock that is set.
        """
        age = timedelta(seconds=self._world.loop.now - self._started_monotonic)
        return self.started_at > at and self._world.wall() - age > at

    def _in_force(self) -> None:
        self._ran_until_now()
        if self.marker:
            self.ran[self.marker] = inf
        self.changed.set()

    def _ran_until_now(self) -> None:
        for marker, until in self.ran.items():
            self.ran[marker] = min(until, self._world.loop.now)

    # SQL

    def waits_for_restart(self, text: str) -> bool:
        """Return whether the server would have to be restarted to run all of *text*."""
        values = rules.values(text)
        started = self.started_with.items()
        return any(values.get(name, rules.DEFAULTS[name]) != old for name, old in started)

    def report(self) -> SqlReport:
        """Return what a session sees now; like the real view it reads the files as they are."""
        text = self._world.disk.files.get(CONF) or ""
        settings, pending = self._file_settings(text)
        wanted = rules.values(text) | self.overrides
        library = self._world.has_library
        return SqlReport(
            conf_load_time=self.load_time,
            marker=self.marker if library else None,
            library_loaded=library,
            settings=tuple(settings),
            running=self._running(PATH),
            pending_restart=tuple(
                PendingRestart(
                    name=name, old=self.started_with[name], new=wanted.get(name, ""),
                    file=PATH if name in wanted else None, line=None,
                )
                for name in sorted(pending)
            ),
        )  # fmt: skip

    def _file_settings(self, text: str) -> tuple[list[FileSetting], set[str]]:
        """Return pg_file_settings with *text* in our file, and what waits for a restart."""
        found = [(PATH, row) for row in rules.rows(text)]
        if self.typo_elsewhere:
            found.insert(0, (MAIN_CONF, rules.Row(1, None, "", "syntax error")))
        for line, (name, value) in enumerate(self.overrides.items(), 1):
            found.append((AUTO_CONF, rules.Row(line, name, value, None)))
        refused = any(row.refuses_all for _, row in found)
        last = {row.name: number for number, (_, row) in enumerate(found)}
        settings = []
        pending = set()
        for number, (file, row) in enumerate(found):
            error = row.error
            wins = last[row.name] == number and not refused
            old = self.started_with.get(row.name or "", row.value)
            if row.name is not None and error is None and wins and old != row.value:
                error = f'setting could not be applied: "{row.name}"'
                pending.add(row.name)
            settings.append(
                FileSetting(
                    file=file, line=row.line, name=row.name, value=row.value,
                    applied=wins and error is None, error=error,
                )
            )  # fmt: skip
        for name in () if refused else self._removed(rules.values(text) | self.overrides):
            pending.add(name)
            message = f'parameter "{name}" cannot be changed without restarting the server'
            settings.append(
                FileSetting(file=PATH, line=0, name=None, value=None, applied=False, error=message)
            )
        return settings, pending

    def _removed(self, wanted: dict[str, str]) -> list[str]:
        """Return the restart-only settings that no file sets any more."""
        return [
            name
            for name, value in self.started_with.items()
            if name not in wanted and value != rules.DEFAULTS[name]
        ]

    def _running(self, path: str) -> dict[str, Running]:
        """Return what a new session has, and from which file."""
        return {
            name: Running(
                value=value,
                source="configuration file",
                file=AUTO_CONF if name in self._loaded_overrides else path,
                line=1,
            )
            for name, value in self.conf.items()
        }

    @property
    def locked_by_document(self) -> bool:
        """Whether nobody can log in, because of what the daemon has written."""
        elsewhere = rules.SESSION_LIBRARIES in self._loaded_overrides
        return self.ready and not elsewhere and rules.locks_out(self.conf)
