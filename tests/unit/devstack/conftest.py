"""The stand-ins as real processes: pageservers over some files, a storage controller."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devstack.launch import Pageserver, start_pageserver
from devstack.storage_controller.client import StorageController, start_storage_controller
from devstack.tokens import KeyPair
from tests.unit.devstack.clients import TENANT, TIMELINE
from tests.unit.devstack.hook_receiver import TOKEN, HookReceiver, receiving
from tests.unit.devstack.storage_cluster import INTERVAL, OFFLINE_AFTER, SCALE, StorageCluster

PageserverFactory = Callable[..., Pageserver]


def make_tree(folder: Path) -> Path:
    """A data directory's tree: relation 16384 with blocks a and b, one clog segment."""
    base = folder / "pgdata" / "base" / "5"
    base.mkdir(parents=True)
    (base / "16384").write_bytes(b"a" * 8192 + b"b" * 8192)
    xact = folder / "pgdata" / "pg_xact"
    xact.mkdir()
    (xact / "0000").write_bytes(b"x" * 8192)
    return folder / "pgdata"


@pytest.fixture
def pgdata(tmp_path: Path) -> Path:
    """A tree for one test."""
    return make_tree(tmp_path)


@pytest.fixture
def make_pageserver(pgdata: Path, tmp_path: Path) -> Iterator[PageserverFactory]:
    """Start pageservers over the tree; keyword arguments go to start_pageserver."""
    with ExitStack() as stack:

        def make(**options: Any) -> Pageserver:
            return stack.enter_context(
                start_pageserver(
                    pgdata=pgdata, tenant=TENANT, timeline=TIMELINE, log_dir=tmp_path, **options
                )
            )

        yield make


@pytest.fixture(scope="session")
def shared_pageserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pageserver]:
    """One plain server for the session."""
    folder = tmp_path_factory.mktemp("pageserver")
    with start_pageserver(
        pgdata=make_tree(folder), tenant=TENANT, timeline=TIMELINE, log_dir=folder
    ) as running:
        yield running


@pytest.fixture
def pageserver(shared_pageserver: Pageserver) -> Pageserver:
    """The shared server as after its start. A test that ends its server makes one of its own."""
    shared_pageserver.admin.reset()
    return shared_pageserver


@pytest.fixture
def keys(tmp_path: Path) -> KeyPair:
    """A key pair whose public half a pageserver can read."""
    return KeyPair.create(tmp_path)


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    """A receiver of hooks."""
    with receiving() as running:
        yield running


@pytest.fixture
def cluster(
    receiver: HookReceiver, make_pageserver: PageserverFactory, tmp_path: Path
) -> Iterator[StorageCluster]:
    """A storage controller without nodes; short times."""
    with ExitStack() as stack:

        def make(**options: Any) -> StorageController:
            given: dict[str, Any] = {
                "state": tmp_path / "controller.json",
                "control_plane_url": f"{receiver.url}/",
                "control_plane_token": TOKEN,
                "heartbeat_interval": INTERVAL,
                "offline_after": OFFLINE_AFTER,
                "heartbeat_deadline": 0.3,
                "time_scale": SCALE,
                **options,
            }
            return stack.enter_context(start_storage_controller(log_dir=tmp_path, **given))

        yield StorageCluster(receiver, make, make_pageserver)
