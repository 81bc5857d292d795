"""A primary and a standby with its daemon, for tests of promotions."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from compute_ctl.document.generation import LiveFile
from devstack.daemon import Daemon
from devstack.installation import binary, free_port, give_away, make_folder, replace_file, run_as
from devstack.postgres import BASE_SETTINGS, Postgres, Template
from devstack.wait import wait_until

FAR = "FFFFFFFF/0"
"""A position that no log here reaches."""


class Pair:
    """A primary, and a stock standby whose document comes from a file."""

    def __init__(self, stack: ExitStack, template: Template, *, attach: bool = True) -> None:
        """*attach*: the standby runs already, else the daemon starts it."""
        self._stack = stack
        self.primary = stack.enter_context(Postgres(template, name="primary"))
        self.primary.configure({"wal_keep_size": "64MB"})
        self.primary.start()
        self.primary.query("create table story (n int)")
        self.primary.query("select pg_create_physical_replication_slot('standby')")
        self.standby = self._copy()
        self.standby.configure({"wal_retrieve_retry_interval": "200ms"})
        self.base: dict[str, str] = {}
        """Settings of every document."""
        if attach:
            self.standby.start()
        else:
            self.base = {
                **BASE_SETTINGS,
                "port": str(self.standby.port),
                "unix_socket_directories": self.standby.host,
            }
        self._conf = "compute_ctl.conf" if attach else "postgresql.conf"
        self.config = self.standby.folder / "config.json"
        self.daemon = Daemon(
            pgdata=self.standby.data,
            connstr=self.standby.conninfo,
            port=free_port(),
            log=self.standby.folder / "compute_ctl.log",
            pgbin=binary("postgres"),
            config=self.config,
            attach=attach,
            extra=("--reconcile-interval", "86400"),
        )
        self._pool = stack.enter_context(ThreadPoolExecutor(4))

    def _copy(self) -> Postgres:
        folder = make_folder("base-")
        self._stack.callback(subprocess.run, ["rm", "-rf", str(folder)], check=True)
        copy = folder / "data"
        command = [binary("pg_basebackup"), "-D", str(copy), "-d", self.primary.dsn(), "-c", "fast"]
        subprocess.run(command, check=True, cwd="/", timeout=60, **run_as())
        (copy / "standby.signal").touch()
        give_away(copy / "standby.signal")
        return self._stack.enter_context(Postgres(copy, name="standby"))

    def start(self, generation: int | None = 1) -> "Pair":
        """Start the daemon with the document of a standby, and wait until it follows."""
        replace_file(self.config, json.dumps(self.replica(generation)))
        self._stack.enter_context(self.daemon)
        self.daemon.wait_status("the document", lambda found: found["config"]["in_sync"])
        self.follows(1)
        return self

    def replica(self, generation: int | None = 1, **settings: str) -> dict[str, Any]:
        """Return the document of the standby."""
        everything = {"work_mem": "5MB", **self.base, **self.following, **settings}
        return document("Replica", generation, everything)

    @property
    def following(self) -> dict[str, str]:
        """The settings by which the standby follows."""
        return {"primary_conninfo": self.primary.dsn(), "primary_slot_name": "standby"}

    def publish(self, wanted: Mapping[str, Any]) -> None:
        """Make *wanted* the document of the source."""
        replace_file(self.config, json.dumps(wanted))

    def promote(self, body: Mapping[str, Any], query: str = "") -> tuple[int, dict[str, Any]]:
        """Ask for a promotion; return code and body of the answer."""
        return self.daemon.call("POST", f"/promote{query}", body, timeout=90)

    def promoting(self, body: Mapping[str, Any], query: str = "") -> Future[Any]:
        """Ask for a promotion in another thread, and wait until it has begun."""
        before = self.promotion.get("started_at")
        future = self._pool.submit(self.promote, body, query)
        wait_until(
            "the promotion",
            lambda: future.done() or self.promotion.get("started_at") != before,
            30,
        )
        return future

    @property
    def promotion(self) -> dict[str, Any]:
        """The last promotion, as the status shows it."""
        found: dict[str, Any] = self.daemon.status()["promotion"] or {}
        return found

    @property
    def in_recovery(self) -> bool:
        """Whether the server is a standby."""
        return self.standby.value("select pg_is_in_recovery()") is True

    @property
    def live(self) -> str:
        """The body of the live file."""
        return LiveFile.parse((self.standby.data / self._conf).read_text()).body

    def follows(self, value: int) -> None:
        """Write a row on the primary, and wait until the standby has it."""
        self.primary.query(f"insert into story values ({value})")
        wait_until(
            f"row {value} on the standby",
            lambda: self.standby.query("select 1 from story where n = %s", value),
            30,
        )

    def settles(self) -> dict[str, Any]:
        """Wait until what is desired is in force and nothing is promoted; return the status."""
        found: dict[str, Any] = self.daemon.wait_status(
            "the end of the work",
            lambda status: (
                status["status"] == "running"
                and status["config"]["in_sync"]
                and (status["promotion"] or {"finished_at": "never"})["finished_at"]
                and status
            ),
        )
        return found


def document(mode: str, generation: int | None, settings: Mapping[str, str]) -> dict[str, Any]:
    """Return a document."""
    options = [
        {"name": name, "value": value, "vartype": "string"} for name, value in settings.items()
    ]
    spec: dict[str, Any] = {"mode": mode, "cluster": {"settings": options}}
    return {"spec": spec if generation is None else spec | {"generation": generation}}


def primary(generation: int | None = 2, **settings: str) -> dict[str, Any]:
    """Return the document of the new primary."""
    return document("Primary", generation, {"work_mem": "6MB", **settings})


@pytest.fixture
def pair(template: Template) -> Iterator[Pair]:
    """Return a primary and a standby, whose daemon is not started yet."""
    with ExitStack() as stack:
        yield Pair(stack, template)


@pytest.fixture
def supervised_pair(template: Template) -> Iterator[Pair]:
    """Return the same, where the daemon runs the standby."""
    with ExitStack() as stack:
        yield Pair(stack, template, attach=False)


def is_primary(pair: Pair, work_mem: str = "6MB") -> None:
    """Check that the document of the primary is in force, and nothing is left behind."""
    pair.settles()
    assert not pair.in_recovery
    assert pair.standby.value("show work_mem") == work_mem
    assert pair.standby.value("show primary_conninfo") == ""
    assert pair.standby.value("show primary_slot_name") == ""
    auto = (pair.standby.data / "postgresql.auto.conf").read_text()
    assert [line for line in auto.splitlines() if line and not line.startswith("#")] == []
    pair.standby.query("insert into story values (1000)")


def is_standby(pair: Pair, value: int) -> None:
    """Check that it follows as before."""
    pair.settles()
    assert pair.in_recovery
    assert "primary_conninfo" in pair.live
    pair.follows(value)
    assert pair.standby.value("show work_mem") == "5MB"
    assert pair.standby.value("show synchronous_standby_names") == ""


@contextmanager
def startup_stopped(pair: Pair) -> Iterator[None]:
    """Stop the process that would promote."""
    query = "select pid from pg_stat_activity where backend_type = 'startup'"
    pid = pair.standby.value(query)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def waits_for_promotion(pair: Pair) -> Future[Any]:
    """Promote; return when pg_promote waits for the process that is stopped."""
    waiting = pair.promoting(primary())
    wait_until(
        "pg_promote",
        lambda: pair.standby.query(
            "select 1 from pg_stat_activity where query ~ '^SELECT pg_prom'"
        ),
        30,
    )
    assert "promoting" == pair.promotion["status"]
    return waiting
