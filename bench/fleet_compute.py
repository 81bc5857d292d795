"""A compute of a fleet: the daemon's real core, and the extension's real trigger policy.

`Node`, `GenerationStore` and all parts of the `Reconciler` are those of the daemon, and
`pgh_policy`, through cffi, decides when its worker asks. Simulated is what is around them: time,
the network, files, the reload of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench.fleet_control import DOCUMENTS, ControlPlane, Scenario, url
from bench.fleet_files import CONF, Files
from compute_ctl.app.reconciler_parts import build_reconciler
from compute_ctl.decisions import model
from compute_ctl.decisions.model import AckMessage, Suspicion
from compute_ctl.decisions.persistent_state import ClusterIdentity
from compute_ctl.decisions.sql_report import FileSetting, SqlReport
from compute_ctl.document.generation import LiveFile
from compute_ctl.document.render import RenderContext
from compute_ctl.errors import FetchError
from compute_ctl.node import Node
from compute_ctl.ports import Fetched
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.settings import Settings
from devstack.virtual_loop import VirtualLoop
from pg_hook.suspicion import NEVER, Policy, Source

NETWORK_S: Final = (0.0005, 0.003)
"""One way to the control plane."""
LOOPBACK_S: Final = 0.0003
FSYNC_S: Final = 0.0005
RELOAD_S: Final = 0.002
"""From SIGHUP to the acknowledgement."""
RECONNECT_S: Final = 0.002
_EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)


class _Lockstep(random.Random):
    """What everybody draws who does not draw: the middle."""

    def random(self) -> float:
        return 0.5


class Compute:
    """One PostgreSQL with its daemon; it is the daemon's `Postgres`, `SqlProbe` and `Source`."""

    ready = running = True
    pid = 1
    name = "control_plane"

    def __init__(self, fleet: Fleet, number: int) -> None:
        self._fleet = fleet
        self._loop = fleet.loop
        self.rng = random.Random(fleet.scenario.seed * 1_000_003 + number)
        self.place = 0
        """Index of the document that is published for it."""
        self.published = asyncio.Event()
        self.troubled = False
        self.healed_at = 0.0
        self._lost = 0
        self._files = Files()
        self.node = Node(clock=fleet, postgres=self)
        jitters = fleet.scenario.jitter
        self._policy = Policy(seed=self.rng.getrandbits(64) if jitters else 1)
        deadlines = fleet.settings.deadlines
        self._store = GenerationStore(
            conf=self._files,
            state=self._files,
            identity=ClusterIdentity(compute_id="c", system_identifier="7", data_dir_inode="1:2"),
            deadlines=deadlines,
            nonce=lambda: f"{self.rng.getrandbits(128):032x}",
        )
        parts = build_reconciler(
            node=self.node,
            store=self._store,
            postgres=self,
            probe=self,
            source=self,
            clock=fleet,
            settings=fleet.settings,
            context=RenderContext(attach=True, internal_port=3081, token_file=""),
            rng=random.Random(self.rng.getrandbits(64)) if jitters else _Lockstep(),
        )
        self._recovery, self._reconciler = parts.recovery, parts.reconciler

    async def run(self) -> None:
        """Be its daemon, from its start on."""
        await self._recovery.restore()
        await self._reconciler.run()

    # What the daemon sees

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Ask the control plane, over the network and with the deadline of the real adapter."""
        limit = self._fleet.settings.deadlines.fetch_total if wait_s is None else wait_s + 5.0
        try:
            return await asyncio.wait_for(self._ask(etag, wait_s), limit)
        except TimeoutError:
            raise FetchError("no answer in time") from None

    async def _ask(self, etag: str | None, wait_s: int | None) -> Fetched:
        await asyncio.sleep(self.rng.uniform(*NETWORK_S))
        try:
            return await self._fleet.control.ask(self, etag, wait_s)
        finally:
            await asyncio.sleep(self.rng.uniform(*NETWORK_S))

    @property
    def etag(self) -> str:
        """Name of the document that is published for it."""
        return str(self.place)

    has_read_files = True
    in_recovery = None
    is_primary = False

    def read_log(self) -> None:
        """Have none."""

    def unblock(self, file: str) -> None:
        """Wait for no file."""

    def blocked_on(self) -> None:
        """Wait for no file."""

    def started_after(self, at: datetime) -> bool:
        """Leave that in doubt: no server is started here."""
        del at
        return False

    def reload(self) -> bool:
        """Take a SIGHUP."""
        self._later(RELOAD_S, self._reloaded)
        return True

    async def look(self, *, deadline_s: float) -> SqlReport:
        """Say over SQL that all is well."""
        del deadline_s
        await asyncio.sleep(RELOAD_S)
        marker = str(LiveFile.parse(self._files.text or "").marker)
        row = FileSetting(
            file=str(CONF),
            line=1,
            name="neon_refresh.config_generation",
            value=marker,
            applied=True,
            error=None,
        )
        return SqlReport(
            conf_load_time=self._fleet.wall(),
            marker=marker,
            library_loaded=True,
            settings=(row,),
            pending_restart=(),
        )

    def move(self) -> None:
        """Publish its next document."""
        self.place += 1
        self.published.set()
        self.published = asyncio.Event()

    # What its PostgreSQL does

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._loop.call_later(seconds, call)

    @property
    def _now_us(self) -> int:
        return int(self._loop.now * 1e6)

    def suffer(self) -> None:
        """Its sessions notice that the pageserver is gone."""
        self.troubled = True
        text = self._files.text or ""
        self._lost = next(place for place in range(len(DOCUMENTS)) if url(place) in text)
        self._policy.event(Source.PAGESERVER, self._now_us, shard=0)
        self._complain()

    def _complain(self) -> None:
        if not self.troubled:
            return
        if self._policy.due(self._now_us):
            self._policy.sent(self._now_us)
            self._later(LOOPBACK_S, self._complained)
            return
        wait_us = self._policy.wait_us(self._now_us)
        if wait_us != NEVER:
            self._later(max(wait_us, 1) / 1e6, self._complain)

    def _complained(self) -> None:
        self.node.request_refresh(
            who="postgres",
            source=model.RequestOrigin.WORKER,
            suspicion=Suspicion(source="pageserver", shard=0, trouble="dead"),
        )
        self._policy.finished(self._now_us)
        self._complain()

    def _reloaded(self) -> None:
        if self.troubled and url(self._lost) not in (self._files.text or ""):
            self._later(RECONNECT_S, self._reconnected)
        self._acknowledge()

    def _reconnected(self) -> None:
        if self.troubled:
            self.troubled = False
            self._policy.renewed(0, self._now_us)
            self.healed_at = self._loop.now
            self._fleet.healed()
            self._later(LOOPBACK_S, self._acknowledge)

    def _acknowledge(self) -> None:
        written = self.node.config.written
        if written is not None:
            self.node.acknowledge(
                AckMessage(
                    marker=str(LiveFile.parse(self._files.text or "").marker),
                    map_sha256=written.map_sha256,
                    shard_count=1,
                    suspects=self.troubled,
                )
            )


class Fleet:
    """All of them, and their clock."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.loop = VirtualLoop()
        self.loop.step_s = 1e-9  # thousands act in the same moment
        self.loop.job_time = lambda: FSYNC_S
        self.settings = Settings(pgdata=Path("/pgdata"), connstr="", compute_id="c", attach=True)
        self.control = ControlPlane(self.loop, scenario)
        self.unhealed = 0
        """How many have lost their pageserver and not found it again."""
        self.all_healed = asyncio.Event()

    def healed(self) -> None:
        """One compute more is served again."""
        self.unhealed -= 1
        if self.unhealed == 0:
            self.all_healed.set()

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return self.loop.now

    def wall(self) -> datetime:
        """Return the same clock as a date."""
        return _EPOCH + timedelta(seconds=self.loop.now)
