"""When a cluster is made, how, and how often that is tried."""

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from compute_ctl.bootstrap.data_directory import DataDirectory
from compute_ctl.bootstrap.maker import BackupPolicy, ClusterMaker, Means, delay_s
from compute_ctl.decisions.backup_request import BackupRequest
from compute_ctl.decisions.status import ClusterPhase, ClusterView
from compute_ctl.errors import BackupError, PostgresError
from compute_ctl.settings import Init
from devstack.installation import free_port
from tests.support.clock import FakeClock
from tests.unit.bootstrap.test_data_directory import fill, origin

AT = datetime(2026, 11, 27, tzinfo=UTC)


def request(port: int = 1, **fields: Any) -> BackupRequest:
    """A request that goes to a port of this machine."""
    values: dict[str, Any] = {"tenant": "a" * 32, "timeline": "b" * 32, "mode": "primary", **fields}
    return BackupRequest(server=f"host=127.0.0.1 port={port} user=no_user", **values)


class NoJitter(random.Random):
    """Fails where somebody waits."""

    def random(self) -> float:
        """Fail."""
        raise AssertionError("there was a wait")


class Maker:
    """A maker, and what it did."""

    def __init__(self, folder: Path, init: Init = Init.AUTO) -> None:
        self.directory = DataDirectory(folder / "data", folder / "data" / "compute_ctl")
        self.directory.accept(Init.AUTO)
        (self.directory.path / "compute_ctl").mkdir(exist_ok=True)
        self.wanted: BackupRequest | None = None
        self.sync: Callable[[], str | None] = lambda: None
        self.syncs = 0
        self.agreed: str | None = None
        self.views: list[ClusterView] = []
        self.connects = asyncio.Event()
        self.failures = 0
        self.made_new = 0
        self.maker = ClusterMaker(
            directory=self.directory,
            init=init,
            means=Means(
                request=lambda: self.wanted,
                initdb=self._initdb,
                sync_safekeepers=self._sync,
                safekeepers_agree=self._agree,
                show=self._show,
                failed=self._failed,
            ),
            clock=FakeClock(wall=lambda: AT),
            rng=random.Random(0),
            policy=BackupPolicy(tries=3),
        )

    async def _initdb(self, folder: Path) -> None:
        self.made_new += 1
        fill(folder)

    async def _agree(self, request: BackupRequest) -> str | None:
        assert request.safekeepers
        return self.agreed

    async def _sync(self) -> str | None:
        self.syncs += 1
        return self.sync()

    def _show(self, view: ClusterView) -> None:
        self.views.append(view)
        if view.phase is ClusterPhase.CONNECT:
            self.connects.set()

    def _failed(self) -> None:
        self.failures += 1
        self.maker.document_changed()  # so that nobody waits


@pytest.mark.parametrize(("init", "named"), [(Init.AUTO, False), (Init.INITDB, True)])
async def test_new_cluster(tmp_path: Path, init: Init, named: bool) -> None:
    """Without a storage in the document, or as told, the cluster is a new one."""
    one = Maker(tmp_path, init)
    one.wanted = request() if named else None

    made = await one.maker.make()

    assert made is not None
    assert ("initdb", True) == (made.method, made.complete)
    assert one.directory.holds_cluster
    assert await one.maker.make() is None
    assert 1 == one.made_new
    assert ClusterPhase.COMPLETE is one.views[-1].phase


async def test_document_without_storage(tmp_path: Path) -> None:
    """A backup that is asked for needs a document that says of what."""
    one = Maker(tmp_path, Init.BASEBACKUP)

    with pytest.raises(PostgresError, match="names no tenant"):
        await one.maker.make()

    assert 0 == one.made_new
    assert ClusterPhase.FAILED is one.views[-1].phase


async def test_tries_end(tmp_path: Path) -> None:
    """After the last try the reason is the last one's; each failure asks for a newer document."""
    one = Maker(tmp_path)
    port = free_port()
    one.wanted = request(port)

    with pytest.raises(PostgresError, match=f"pageserver 127.0.0.1:{port}: .*refused"):
        await one.maker.make()

    assert 2 == one.failures
    assert (ClusterPhase.FAILED, 3) == (one.views[-1].phase, one.views[-1].tries)
    assert not one.directory.staging.exists()


async def test_all_pageservers_of_the_document_are_tried_first(tmp_path: Path) -> None:
    """One after the other, before anybody is asked for a newer document."""
    one = Maker(tmp_path)
    ports = [free_port(), free_port()]
    one.wanted = request(ports[0], others=(request(ports[1]).server,))

    with pytest.raises(PostgresError):
        await one.maker.make()

    tried = [view.pageserver for view in one.views if view.phase is ClusterPhase.CONNECT]
    assert [f"127.0.0.1:{port}" for port in (*ports, ports[0])] == tried
    assert 1 == one.failures


async def test_another_document_is_tried_at_once(tmp_path: Path) -> None:
    """A document that came during a try that failed is not kept waiting."""
    one = Maker(tmp_path)
    one.maker._rng = NoJitter()
    ports = iter((free_port(), free_port(), free_port()))
    one.wanted = request(next(ports))

    def failed() -> None:
        one.wanted = request(next(ports))

    one.maker._means = replace(one.maker._means, failed=failed)
    with pytest.raises(PostgresError):
        await one.maker.make()

    assert 3 == len({view.pageserver for view in one.views if view.pageserver})


async def test_safekeepers_are_asked_once(tmp_path: Path) -> None:
    """What they agreed on holds for all tries; a replica does not ask."""
    one = Maker(tmp_path)
    one.wanted = request(free_port(), safekeepers="sk:1")
    one.sync = lambda: "0/16"

    with pytest.raises(PostgresError):
        await one.maker.make()

    assert 1 == one.syncs
    assert "0/16" == one.views[-1].lsn
    one.wanted = request(free_port(), safekeepers="sk:2", mode="replica")
    with pytest.raises(PostgresError):
        await one.maker.make()
    assert 1 == one.syncs


async def test_safekeepers_that_agree_already(tmp_path: Path) -> None:
    """Nobody has them agree again, and the backup is taken there."""
    one = Maker(tmp_path)
    one.wanted, one.agreed = request(free_port(), safekeepers="sk:1"), "0/17"

    with pytest.raises(PostgresError):
        await one.maker.make()

    assert 0 == one.syncs
    assert "0/17" == one.views[-1].lsn


async def test_safekeepers_that_do_not_agree(tmp_path: Path) -> None:
    """That is a failed try; no pageserver is asked for a backup of an unknown position."""
    one = Maker(tmp_path)
    one.wanted = request(safekeepers="sk:1")

    def disagree() -> str | None:
        raise BackupError("the safekeepers did not agree")

    one.sync = disagree
    with pytest.raises(PostgresError, match="did not agree"):
        await one.maker.make()

    assert 3 == one.syncs


@pytest.mark.parametrize("init", list(Init))
async def test_a_cluster_of_others_stays(tmp_path: Path, init: Init) -> None:
    """What the daemon did not make it does not replace."""
    one = Maker(tmp_path, init)
    fill(one.directory.path)
    one.wanted = request()

    assert await one.maker.make() is None

    assert [] == one.views


@pytest.mark.parametrize(
    ("init", "replaced"),
    [(Init.AUTO, True), (Init.BASEBACKUP, True), (Init.INITDB, False), (Init.NONE, False)],
)
async def test_a_backup_is_taken_again(tmp_path: Path, init: Init, replaced: bool) -> None:
    """A cluster from a backup is made anew, where --init allows it; a failure leaves the old."""
    one = Maker(tmp_path, init)
    fill(one.directory.begin())
    one.directory.install(origin(one.directory))
    one.wanted = request(free_port())

    if replaced:
        with pytest.raises(PostgresError):
            await one.maker.make()
    else:
        assert await one.maker.make() is None

    assert replaced is bool(one.views)
    assert one.directory.holds_cluster


async def test_cancelled(tmp_path: Path) -> None:
    """A cancelled maker leaves nothing that a next one would trip over."""
    one = Maker(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one.wanted = request(silent.getsockname()[1])
        making = asyncio.create_task(one.maker.make())
        async with asyncio.timeout(30):
            await one.connects.wait()
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
    one.wanted = None

    assert await one.maker.make() is not None


def test_delays() -> None:
    """They grow by half each time, with jitter below."""
    assert 0.5 == delay_s(1, 1.0)
    assert 0.25 == delay_s(1, 0.0)
    assert 0.75 == delay_s(2, 1.0)
    assert 56 < sum(delay_s(number, 1.0) for number in range(1, 11)) < 57
