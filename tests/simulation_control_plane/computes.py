"""A compute: a model of Postgres and its daemon, with the real documents, versions and reporter."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from compute_common.document.document import Document
from compute_common.document.versions import Version, is_older, raise_floor
from compute_common.errors import RequestError, SpecError
from compute_ctl.decisions.model import Attempt, Outcome, Suspected, Suspicion
from compute_ctl.decisions.proof import Proof
from compute_ctl.decisions.status import StatusBody
from compute_ctl.decisions.transitions import Status
from compute_ctl.document.continuity import Live, check_omissions, older_safekeepers
from compute_ctl.errors import FetchError
from compute_ctl.monitoring.reporter import Reporter
from compute_ctl.node import Node
from compute_ctl.node.refused_servers import RefusedServers
from tests.simulation_control_plane.documents import read, servers_of, shard_map, view
from tests.simulation_control_plane.processes import NetworkError, Process

if TYPE_CHECKING:
    from compute_common.http.api import ApiResponse
    from tests.simulation_control_plane.topology import Topology

LONG_POLL_S: Final = 25
SILENT_AFTER_S: Final = 1.0
"""`response_suspect_after`."""
READ_S: Final = 0.2
ASKS_AGAIN_S: Final = (0.3, 1.0, 2.0, 10.0)
"""In trouble: the longer it lasts, the more rarely."""
LOOKS: Final = 8
"""Times the reporter's pause between two looks: most of the time went into them."""


@dataclass(kw_only=True)
class Disk:
    """What survives the processes of a compute."""

    floor: Version | None = None
    applied: Document | None = None


class SimReporter(Reporter):
    """Looks for changes that cause no event only now and then: there are none in the simulation."""

    async def _wait(self, within_s: float) -> None:
        await super()._wait(LOOKS * within_s)


class SimCompute(Process):
    """One life of daemon and Postgres."""

    def __init__(self, world: Topology, compute_id: str, tenant_id: str, disk: Disk) -> None:
        super().__init__(compute_id)
        self._world = world
        self.tenant_id = tenant_id
        self.timeline_id = ""
        self.disk = disk
        self.desired: Document | None = None
        self.wants_reports = self.report_missing = False
        self._etag: str | None = None
        self._asks = asyncio.Event()
        self._suspicions: dict[int, Suspected] = {}
        self._attempt: Attempt | None = None
        self._reporter = SimReporter(
            node=cast(Node, self),
            receiver=self,
            clock=world,
            version="0",
            jitter=world.rng.random,
        )
        self.config = SimpleNamespace(refused_servers=RefusedServers(), written=None)
        """A refused document changes nothing here."""
        self.lag_s = 0.0
        """How long Postgres takes to apply something."""
        self.busy_s = world.rng.choice([0.5, 2.0, 2.0, 20.0])
        """Between two reads."""

    def start(self) -> None:
        """Begin to work."""
        self.loop_task(self._poll(), "poll")
        self.loop_task(self._reporter.run(), "reporter")
        self.loop_task(self._read(), "reads")

    @property
    def generation(self) -> int:
        """Of the document in force."""
        version = self.disk.applied.version if self.disk.applied else None
        return (version.generation or 0) if version else 0

    @property
    def map(self) -> tuple[str, ...]:
        """Where the pages are, as the document in force says: ``host:port`` by shard."""
        return shard_map(self.disk.applied.json) if self.disk.applied else ()

    @property
    def safekeepers_generation(self) -> int:
        """Of the safekeepers in the document in force."""
        return (self.disk.applied.spec.safekeepers_generation or 0) if self.disk.applied else 0

    @property
    def setting(self) -> str:
        """The setting that operators change."""
        settings = self.disk.applied.spec.cluster.settings if self.disk.applied else None
        return (settings[-1].value or "") if settings else ""

    # The document

    async def _poll(self) -> None:
        failures = 0
        while True:
            try:
                await self._fetch(LONG_POLL_S if self._etag and not self._suspicions else None)
                failures = 0
            except FetchError:
                failures = min(failures + 1, 6)
            pause = self._world.rng.choice(ASKS_AGAIN_S) if self._suspicions else 0.02
            pause = 0.1 * 2**failures if failures else pause
            await asyncio.sleep(pause * self._world.rng.uniform(0.5, 1.0))

    async def _fetch(self, wait_s: int | None) -> None:
        headers = {"If-None-Match": self._etag} if self._etag else {}
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s}"
        asked = asyncio.create_task(self._get(headers, 10.0 if wait_s is None else wait_s + 5.0))
        woken = asyncio.create_task(self._asks.wait())
        await asyncio.wait({asked, woken}, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        self._asks.clear()
        if not asked.done() and wait_s is not None:
            asked.cancel()
            asked = asyncio.create_task(self._get({}, 10.0))
        answer = await asked
        wanted, _, said = answer.headers.get("Compute-Reports", "").partition(";")
        self.wants_reports = wanted.strip() == "1"
        self.report_missing = self.wants_reports and said.strip() == "missing"
        if answer.code == 200:
            await self._take(answer.body)
            self._etag = answer.headers["ETag"]

    async def _get(self, headers: dict[str, str], timeout_s: float) -> ApiResponse:
        world = self._world
        target = world.control

        async def ask() -> ApiResponse:
            world.history.heard(self)
            world.history.upheld(target, self.name, self.suspects)
            try:
                answer = await target.spec(self.name, headers)
            finally:
                world.history.heard(self)
            world.history.served(target, self.name, answer)
            return answer

        try:
            return await world.network.call(self, target, ask, timeout_s=timeout_s)
        except (NetworkError, RequestError) as error:
            raise FetchError(str(error)) from error

    async def _take(self, raw: bytes) -> None:
        document = read(raw)
        if is_older(document.version, self.disk.floor):
            self._end(Outcome.STALE, "older than what is desired")
            return
        servers = servers_of(document)
        applied = self.disk.applied
        if applied is not None and applied.json == document.json:
            self._end(Outcome.UNCHANGED)
            return
        live = Live(servers=servers_of(applied) if applied else {})
        try:
            check_omissions(document, servers, live)
            reason = older_safekeepers(servers, live)
        except SpecError as error:
            reason = str(error)
        if reason is not None:
            self._world.history.refused(self, document, reason)
            self._end(Outcome.REJECTED, reason)
            return
        self.desired, self.disk.floor = document, raise_floor(self.disk.floor, document.version)
        await asyncio.sleep(self._world.rng.uniform(0.002, 0.03) + self.lag_s)
        self.disk.applied = document
        self._suspicions.clear()
        self._world.history.applied(self)
        self._end(Outcome.APPLIED)

    def _end(self, outcome: Outcome, reason: str = "") -> None:
        now = self._world.wall()
        self._attempt = Attempt(
            number=1,
            who="poll",
            started_at=now,
            finished_at=now,
            duration_ms=0.0,
            outcome=outcome,
            reason=reason,
        )
        self._reporter.on_attempt(self._attempt)

    # Pages

    async def _read(self) -> None:
        """Read pages of all shards now and then; complain while that does not work."""
        while True:
            await asyncio.sleep(self._world.rng.expovariate(1 / self.busy_s))
            for shard in range(len(self.map)):
                while (endpoint := self._endpoint(shard)) and (
                    trouble := await self._trouble(endpoint)
                ):
                    self._complain(shard, endpoint, trouble)
                    await asyncio.sleep(READ_S)
                if self._suspicions.pop(shard, None) is not None:
                    self._reporter.on_ack(cast(Any, None))

    def _endpoint(self, shard: int) -> str:
        return self.map[shard] if shard < len(self.map) else ""

    async def _trouble(self, endpoint: str) -> str:
        """Read a page; return what is wrong with the server, '' for nothing."""
        network = self._world.network
        node = self._world.nodes[self._world.node_of[endpoint]]
        if node.endpoint != endpoint:
            return "dead"  # it has moved to another address
        cut_off = network.is_cut(self.name, node.name)
        if not cut_off and not node.up:
            return "dead"
        if cut_off or node.stopped or network.slow.get(node.name, 0.0) > SILENT_AFTER_S:
            await asyncio.sleep(SILENT_AFTER_S)
            return "silent"
        return "" if node.holds(self.tenant_id) else "wrong"

    def _complain(self, shard: int, endpoint: str, trouble: str) -> None:
        known = self._suspicions.get(shard)
        said = (known.endpoint, known.suspicion.trouble) if known else None
        if said == (endpoint, trouble):
            return
        self._suspicions[shard] = Suspected(
            suspicion=Suspicion(source="pageserver", shard=shard, trouble=trouble),
            since=self._world.wall(),
            endpoint=endpoint,
        )
        self._world.note(f"{self.name}: {endpoint} is {trouble}")
        self._asks.set()
        self._reporter.on_ack(cast(Any, None))

    @property
    def suspects(self) -> frozenset[str]:
        """Endpoints that are dead or silent."""
        found = self._suspicions.values()
        return frozenset(it.endpoint or "" for it in found if it.suspicion.trouble != "wrong")

    # What the reporter needs: a node and a receiver

    def snapshot(self) -> StatusBody:
        """Return what `report_of` reads of the status."""
        applied, desired = self.disk.applied, self.desired
        config = SimpleNamespace(
            desired=desired and view(desired),
            applied=applied and view(applied),
            proof=Proof.FULL if applied else Proof.NONE,
        )
        return cast(
            StatusBody,
            SimpleNamespace(
                status=Status.RUNNING,
                refresh=SimpleNamespace(last_attempt=self._attempt),
                config=config,
                postgres=SimpleNamespace(pending_restart=()),
            ),
        )

    def suspicions(self) -> tuple[Suspected, ...]:
        """Return the servers that are suspected."""
        return tuple(self._suspicions.values())

    async def report(self, body: bytes) -> None:
        """Send a report. Raises FetchError."""
        world, target, suspects = self._world, self._world.control, self.suspects

        async def take() -> ApiResponse:
            world.history.heard(self)
            world.history.reported(target, self.name, suspects)
            answer = await target.report(self.name, body)
            world.history.took_report(target, self)
            return answer

        try:
            await world.network.call(self, target, take, timeout_s=2.0)
        except (NetworkError, RequestError) as error:
            raise FetchError(str(error)) from error

    def reported(self, status: object) -> None:
        """The reporter counts by itself."""
