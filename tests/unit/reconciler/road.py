"""The parts of the reconciler on real files; what Postgres says of them is scripted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path

from compute_ctl.decisions.model import PUSH, Outcome
from compute_ctl.decisions.persistent_state import ClusterIdentity
from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.document.render import RenderContext
from compute_ctl.node import Node
from compute_ctl.reconciler.activation import Activation
from compute_ctl.reconciler.applier import Applier
from compute_ctl.reconciler.drift_checker import DriftChecker
from compute_ctl.reconciler.fallback import Fallback
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.precheck import Precheck
from compute_ctl.reconciler.recovery import Recovery
from compute_ctl.reconciler.rollback import Rollback
from compute_ctl.reconciler.start_fallback import StartFallback
from compute_ctl.settings import Deadlines
from compute_ctl.store.conf_file import ConfFile
from compute_ctl.store.state_dir import StateDir
from tests.support.clock import FakeClock
from tests.support.fakes import IdlePostgres
from tests.unit.node.test_config_state import document

FULL = Verdict(proof=Proof.FULL)
BAD = Verdict(proof=Proof.NONE, bad=(Complaint(name="work_mem", reason="too small"),))


class ScriptedVerifier:
    """Says of each generation what the test has told it, then that all is well."""

    possible = postgres_exists = True
    sql_error = ""
    blocked_on = None

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.looks: list[Verdict | None] = []
        self.signals = 0

    def signal(self) -> None:
        """Count a signal."""
        self.signals += 1

    async def inspect(self) -> Verdict | None:
        """Say what a look over SQL finds, at the end of this turn of the event loop."""
        await asyncio.sleep(0)
        return self.looks.pop(0) if self.looks else FULL

    async def verify(self, *, within_s: float | None = None) -> Verdict:
        """Say what comes next."""
        return self.verdicts.pop(0) if self.verdicts else FULL


class UncheckedConf(ConfFile):
    """A live file whose candidates no binary is asked about."""

    def check(self, text: str) -> list[Complaint]:
        """Find nothing wrong."""
        return []


class Server(IdlePostgres):
    """A server that runs."""

    started_late = False
    """Whether it was started after the file was replaced."""

    def started_after(self, at: datetime) -> bool:
        """Say what the test has set."""
        return self.started_late


class Road:
    """The parts from `Applier` to the files of one node."""

    def __init__(self, folder: Path) -> None:
        deadlines, clock = Deadlines(), FakeClock()
        self._context = context = RenderContext(attach=True, internal_port=3081, token_file="")
        self.postgres = Server()
        self.node = Node(clock=clock, postgres=self.postgres)
        self.state = StateDir(folder / "state")
        self.state.open()
        self.conf = UncheckedConf(folder / "c.conf", pgdata=folder, pgbin="", attach=True)
        self.store = GenerationStore(
            conf=self.conf,
            state=self.state,
            identity=ClusterIdentity(compute_id="c", system_identifier="7", data_dir_inode="1:2"),
            deadlines=deadlines,
            nonce=lambda: "0" * 32,
            on_kept=self.node.config.state_kept,
        )
        node, store = self.node, self.store
        self.verifier = ScriptedVerifier()
        self.activation = activation = Activation(
            node=node,
            store=store,
            verifier=self.verifier,  # type: ignore[arg-type]  # of it what the road calls
            deadlines=deadlines,
        )
        self.start_fallback = StartFallback(
            node=node, store=store, activation=activation, context=context
        )
        self.applier = Applier(
            node=node,
            store=store,
            activation=activation,
            fallback=Fallback(node=node, store=store, activation=activation, context=context),
            rollback=Rollback(node=node, store=store, context=context, postgres=self.postgres),
            precheck=Precheck(node=node, store=store, context=context),
            postgres=self.postgres,
            clock=clock,
            context=context,
        )

    @cached_property
    def recovery(self) -> Recovery:
        """What takes over from the daemon before."""
        return Recovery(
            node=self.node,
            store=self.store,
            verifier=self.verifier,  # type: ignore[arg-type]  # of it what the road calls
            context=self._context,
        )

    @cached_property
    def drift(self) -> DriftChecker:
        """What checks the running server."""
        return DriftChecker(
            node=self.node,
            store=self.store,
            verifier=self.verifier,  # type: ignore[arg-type]  # of it what the road calls
            applier=self.applier,
            clock=FakeClock(),
        )

    async def apply(self, version: int, work_mem: str) -> Outcome:
        """Push a document; return how it ended."""
        result = await self.applier.apply(document(version, work_mem=work_mem), source=PUSH)
        return result.outcome

    @property
    def live(self) -> str:
        """The text of the live file."""
        return self.conf.read() or ""


@asynccontextmanager
async def road(folder: Path) -> AsyncIterator[Road]:
    """Give the parts, and let go of the files."""
    parts = Road(folder)
    try:
        yield parts
    finally:
        await parts.store.close(1.0)
        parts.state.close()
