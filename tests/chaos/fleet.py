"""A whole installation to be broken: storage controller, pageservers, control plane, two computes.

All faults can be begun and ended; what must hold at any time, and what after peace, can be asked.
"""

import signal
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, Self

import psycopg

from devstack.client import AdminError
from devstack.compute import TENANT
from devstack.postgres import Postgres
from devstack.process import Child
from devstack.stack import Stack
from tests.chaos.cluster import CANCEL_AFTER_S, SETTINGS
from tests.chaos.fleet_schedule import CONTROL_PLANE, CONTROLLER, NODES, Fault
from tests.chaos.load import Expected, Load
from tests.support.small_disk import Disk

SESSIONS: Final = 2
"""Of each compute."""


class Fleet:
    """All processes of a run; use it as a context manager."""

    def __init__(self, content: Path, folder: Path, disk: Disk | None, seed: int) -> None:
        store = disk.folder if disk is not None else folder
        self.disk = disk
        self._context = ExitStack()
        self._seed = seed
        self._generations: dict[str, int] = {}
        self._held: set[str] = set()
        """Targets that are down or stopped."""
        self._later: list[str] = []
        """Pageservers to start when the storage controller answers: they ask it first."""
        self.stack = Stack(
            content,
            folder,
            nodes=NODES,
            heartbeat_interval=0.5,
            offline_after=3.0,
            attach_seconds=0.1,
            proxied=True,
            settings=SETTINGS,
            options=[
                *("--evidence", "act", "--log-level", "warning"),
                *("--store", str(store / "state.db"), "--admin-socket", str(folder / "admin.sock")),
            ],
        )
        self.loads: list[Load] = []

    def __enter__(self) -> Self:
        with ExitStack() as context:
            context.enter_context(self.stack)
            for name in "ab":
                compute = self.stack.add_compute(name)
                load = Load(
                    compute.postgres,
                    Expected(pages=_pages(compute.postgres), cancel_after=CANCEL_AFTER_S),
                    count=SESSIONS,
                    seed=self._seed,
                    last_crash=lambda: None,
                )
                load.start()
                context.callback(load.end)
                self.loads.append(load)
            self._context = context.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    # Trouble

    def begin(self, fault: Fault) -> None:
        """Let a fault begin."""
        match fault.kind:
            case "kill":
                self._held.add(fault.target)
                self._child(fault.target).kill()
            case "stop":
                self._held.add(fault.target)
                self._child(fault.target).signal(signal.SIGSTOP)
            case "cut":
                way, _, how = fault.target.partition(" ")
                self.stack.proxy.strike(way, how)
            case "disk":
                assert self.disk is not None
                self.disk.fill()
            case _:
                self._order(fault)

    def _order(self, fault: Fault) -> None:
        """Ask the controller for a move, or for a fault of its next hook; it may be down."""
        admin = self.stack.controller.admin
        if CONTROLLER in self._held:
            return
        with suppress(OSError, AdminError):
            if fault.kind == "move":
                admin.migrate(TENANT, int(fault.target.rpartition("-")[2]))
            else:
                admin.set_fault(fault.target, hook="notify-attach", count=1, delay_ms=500)

    def end(self, fault: Fault) -> None:
        """Let a fault end."""
        self._held.discard(fault.target)
        match fault.kind:
            case "kill":
                self._revive(fault.target)
            case "stop":
                self._child(fault.target).signal(signal.SIGCONT)
            case "cut":
                self.stack.proxy.clear(fault.target.partition(" ")[0])
            case "disk":
                assert self.disk is not None
                self.disk.free()
            case _:
                pass
        if CONTROLLER not in self._held:
            while self._later:
                self._revive(self._later.pop())

    def _child(self, target: str) -> Child:
        role, _, name = target.partition("-")
        match role:
            case "pageserver":
                return self.stack.pageservers[int(name)].child
            case "daemon":
                child = self.stack.computes[name].daemon.child
            case "controller":
                return self.stack.controller.child
            case _:
                child = self.stack.control_plane.child
        assert child is not None
        return child

    def _revive(self, target: str) -> None:
        role, _, name = target.partition("-")
        match role:
            case "pageserver" if CONTROLLER in self._held:
                self._later.append(target)
            case "pageserver":
                self.stack.start_pageserver(int(name))
            case "daemon":
                self.stack.computes[name].daemon.spawn()
            case "controller":
                self.stack.start_controller()
            case _:
                self.stack.control_plane.spawn()

    # What must hold

    def look(self) -> list[str]:
        """Return what must not be; start what ended by itself, as systemd would."""
        control_plane = self.stack.control_plane.child
        if CONTROL_PLANE not in self._held and control_plane and control_plane.poll() is not None:
            self.stack.control_plane.spawn()
        found = [what for load in self.loads for what in load.take_trouble()]
        if CONTROL_PLANE in self._held:
            return found
        with suppress(OSError, HTTPException):
            answer = self.stack.control_plane.admin("GET", "/v1/computes")
            for row in answer.body["computes"] if answer.code == 200 else ():
                name, generation = row["id"], row["published"]
                if generation < self._generations.get(name, 0):
                    was = self._generations[name]
                    found.append(f"what is published to {name} fell from {was} to {generation}")
                self._generations[name] = generation
        return found

    def healed(self) -> str:
        """Return what is not well yet; '' where all is."""
        try:
            return self._unsettled() or self._unread()
        except (OSError, AssertionError, HTTPException, psycopg.Error) as error:
            return f"{type(error).__name__}: {error}"

    def _unsettled(self) -> str:
        if not self.stack.controller.settled(TENANT):
            return "the storage controller is not done"
        true = self.stack.server(self.stack.controller.located(TENANT)[0])
        for name, compute in self.stack.computes.items():
            status = compute.daemon.status()
            if status["status"] != "running" or not status["config"]["in_sync"]:
                return f"{name} is {status['status']}: {status['error']}"
            if (found := compute.setting("neon.pageserver_connstring")) != true:
                return f"{name} reads from {found}, not from {true}"
        rows: list[dict[str, Any]] = self.stack.control_plane.admin("GET", "/v1/computes").body[
            "computes"
        ]
        behind = [row for row in rows if row["condition"] != "in_sync"]
        return f"behind: {behind}" if behind else ""

    def _unread(self) -> str:
        for load in self.loads:
            load.quiet(12 * CANCEL_AFTER_S)
        right = all(load.verify() for load in self.loads)
        for load in self.loads:
            load.go_on()
        return "" if right else "a session could not read the whole table"


def _pages(postgres: Postgres) -> list[bytes]:
    """Return the pages of the table as Postgres reads them from its own files."""
    with postgres.connect() as session:
        row = session.execute(
            "select pg_read_binary_file(pg_relation_filepath('story'))", binary=True
        ).fetchone()
    assert row is not None
    return [row[0][at : at + 8192] for at in range(0, len(row[0]), 8192)]
