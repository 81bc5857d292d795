"""Reading a base backup from a pageserver that may do anything."""

import socket
import threading
from collections.abc import Iterator

import pytest

from compute_ctl.bootstrap.copy_out import Cancellation, CopyOut
from compute_ctl.bootstrap.gunzip import Gunzip
from compute_ctl.decisions.backup_request import BackupRequest
from compute_ctl.errors import BackupError
from devstack.installation import free_port
from devstack.launch import Pageserver, start_pageserver

TENANT, TIMELINE = "a" * 32, "b" * 32
LONG_S = 60.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pageserver]:
    """One pageserver, whose data directory holds one file."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "data" / "base").mkdir(parents=True)
    (folder / "data" / "base" / "1").write_bytes(b"x" * 500_000)
    with start_pageserver(
        pgdata=folder / "data", tenant=TENANT, timeline=TIMELINE, log_dir=folder
    ) as running:
        yield running


@pytest.fixture
def pageserver(shared: Pageserver) -> Pageserver:
    """The same pageserver, without faults and with new counters."""
    shared.admin.reset()
    return shared


def copy_out(port: int, *, connect_s: float = LONG_S, stall_s: float = LONG_S) -> CopyOut:
    """A reader of what listens at a port."""
    request = BackupRequest(
        server=f"postgresql://no_user@127.0.0.1:{port}",
        tenant=TENANT,
        timeline=TIMELINE,
        mode="primary",
    )
    return CopyOut(
        request=request, cancellation=Cancellation(), connect_s=connect_s, stall_s=stall_s
    )


def read(source: CopyOut, command: str = "") -> bytes:
    """Everything, decompressed."""
    whole = b""
    try:
        source.connect()
        source.begin(command or source.request.command())
        archive = Gunzip(source)
        while part := archive.read(1 << 16):
            whole += part
    finally:
        source.close()
        source.cancellation.close()
    return whole


def refused(source: CopyOut, command: str = "") -> str:
    """Why there is no backup."""
    with pytest.raises(BackupError) as caught:
        read(source, command)
    assert source.node in str(caught.value)
    return str(caught.value)


def test_whole(pageserver: Pageserver) -> None:
    """The whole archive arrives, and arrives compressed."""
    source = copy_out(pageserver.port)

    assert b"x" * 500_000 in read(source)
    assert 0 < source.received < 500_000


@pytest.mark.parametrize("phase", ["accept", "startup"])
def test_login_that_hangs(pageserver: Pageserver, phase: str) -> None:
    """A login has its deadline."""
    pageserver.admin.set_fault("silent", phase=phase)

    assert "no answer within 0.2 s" in refused(copy_out(pageserver.port, connect_s=0.2))


@pytest.mark.parametrize("phase", ["basebackup", "basebackup_middle", "basebackup_end"])
def test_silence(pageserver: Pageserver, phase: str) -> None:
    """Silence ends the transfer, wherever it comes."""
    pageserver.admin.set_fault("silent", phase=phase)

    assert "no answer within 0.3 s" in refused(copy_out(pageserver.port, stall_s=0.3))


@pytest.mark.parametrize("phase", ["basebackup", "basebackup_middle", "basebackup_end"])
@pytest.mark.parametrize("kind", ["error", "reset", "close"])
def test_failures(pageserver: Pageserver, kind: str, phase: str) -> None:
    """An error or a cut is told, also after the last byte; then the same server serves."""
    pageserver.admin.set_fault(kind, phase=phase, count=1)

    assert refused(copy_out(pageserver.port))
    assert read(copy_out(pageserver.port))


def test_refusals(pageserver: Pageserver) -> None:
    """A server that is not there, or has not that tenant, or knows no such command."""
    assert "refused" in refused(copy_out(free_port()))
    other = f"basebackup {'c' * 32} {TIMELINE} --gzip"
    assert "not found" in refused(copy_out(pageserver.port), other)
    assert "unsupported command" in refused(copy_out(pageserver.port), "nonsense")
    assert "sends no archive" in refused(copy_out(pageserver.port), "set x to y")


def test_given_up(pageserver: Pageserver) -> None:
    """Another thread ends a wait at once."""
    pageserver.admin.set_fault("silent", phase="basebackup_middle")
    source = copy_out(pageserver.port)
    timer = threading.Timer(0.1, source.cancellation.set)
    timer.start()

    assert "given up" in refused(source)

    timer.join()
    source.cancellation.set()  # without effect: it is closed


def test_no_server_of_this_protocol() -> None:
    """A listener that never answers costs the deadline, not more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "no answer within 0.2 s" in refused(copy_out(port, connect_s=0.2))


def test_node_of_other_forms() -> None:
    """The node is named by host and port, in whichever form the document has them."""
    request = BackupRequest(server="host=ps-1", tenant="t", timeline="t", mode="primary")
    source = CopyOut(request=request, cancellation=Cancellation(), connect_s=1, stall_s=1)
    source.cancellation.close()

    assert "ps-1:5432" == source.node
