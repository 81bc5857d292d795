"""Base backups and leases of the pageserver stand-in, read with libpq."""

import io
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import OperationalError, pq
from psycopg.pq.abc import PGconn

from devstack.launch import Pageserver
from devstack.tokens import KeyPair
from tests.unit.devstack.clients import OTHER, TENANT, TIMELINE
from tests.unit.devstack.conftest import PageserverFactory

COMMAND = f"basebackup {TENANT} {TIMELINE}"
EVERYTHING = ["zenith.signal", "base", "base/5", "base/5/16384", "pg_xact", "pg_xact/0000"]


@contextmanager
def logged_in(url: str) -> Iterator[PGconn]:
    """Connect with libpq."""
    connection = pq.PGconn.connect(url.encode())
    assert pq.ConnStatus.OK == connection.status, connection.error_message
    try:
        yield connection
    finally:
        connection.finish()


def back_up(connection: PGconn, command: str, *, extended: bool = True) -> tuple[bytes, str]:
    """All bytes of the copy, and the refusal that ended it, if one did."""
    raw = command.encode()
    result = connection.exec_params(raw, None) if extended else connection.exec_(raw)
    if result.status != pq.ExecStatus.COPY_OUT:
        return b"", result.get_error_message()
    data = b""
    while True:
        size, part = connection.get_copy_data(0)
        if size <= 0:
            break
        data += bytes(part)
    refused = ""
    while (last := connection.get_result()) is not None:
        if last.status != pq.ExecStatus.COMMAND_OK:
            refused = last.get_error_message()
    return data, refused


def names(archive: bytes) -> list[str]:
    """The members of a tar."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return opened.getnames()


@pytest.mark.parametrize("extended", [True, False])
def test_archive(pageserver: Pageserver, extended: bool) -> None:
    """A backup is the whole data directory; the connection stays usable after it."""
    with logged_in(pageserver.url) as connection:
        plain, refused = back_up(connection, COMMAND, extended=extended)
        assert ("", EVERYTHING) == (refused, names(plain))
        packed, refused = back_up(connection, f"{COMMAND} 0/10 --gzip --replica", extended=extended)
        assert ("", plain) == (refused, zlib.decompress(packed, wbits=31))
    assert 2 == pageserver.admin.stats()["basebackups"]


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"basebackup {OTHER} {TIMELINE}", "not found"),
        (f"basebackup {TENANT} {OTHER}", "not found"),
        (f"basebackup {TENANT} {TIMELINE} x", 'invalid LSN "x"'),
        (f"{COMMAND} --nonsense", "invalid arguments"),
        ("basebackup x y", "Failed to parse"),
    ],
)
def test_refused(pageserver: Pageserver, command: str, reason: str, extended: bool) -> None:
    """What cannot be sent is refused before the copy, and the next command is answered."""
    with logged_in(pageserver.url) as connection:
        data, refused = back_up(connection, command, extended=extended)
        assert b"" == data
        assert reason in refused
        assert back_up(connection, COMMAND, extended=extended)[0]


@pytest.mark.parametrize(
    ("phase", "complete"),
    [("basebackup", False), ("basebackup_middle", False), ("basebackup_end", True)],
)
def test_ordered_error(pageserver: Pageserver, phase: str, complete: bool) -> None:
    """An error comes before the archive, in its middle, or after its last byte."""
    pageserver.admin.set_fault("error", phase=phase, count=1, text="told to")
    with logged_in(pageserver.url) as connection:
        data, refused = back_up(connection, COMMAND)
        assert "told to" in refused
        whole, _ = back_up(connection, COMMAND)
    assert complete is (data == whole)
    assert whole.startswith(data)
    assert bool(data) is (phase != "basebackup")


def test_cut(pageserver: Pageserver) -> None:
    """A connection may be cut in the middle."""
    pageserver.admin.set_fault("close", phase="basebackup_middle", count=1)
    expected = pytest.raises(OperationalError, match="closed the connection")
    with logged_in(pageserver.url) as connection, expected:
        back_up(connection, COMMAND)


def test_token(make_pageserver: PageserverFactory, keys: KeyPair) -> None:
    """A token of another tenant gets no backup."""
    pageserver = make_pageserver(auth_key=keys.public_path)
    for tenant, has_archive in ((TENANT, True), (OTHER, False)):
        with logged_in(f"postgresql://no_user:{keys.token(tenant)}@{pageserver.address}") as one:
            data, refused = back_up(one, COMMAND)
            assert (has_archive, has_archive) == (bool(data), not refused)


def lease(connection: PGconn, lsn: str, tenant: str = TENANT) -> bytes | None:
    """The time until which an LSN is leased."""
    result = connection.exec_(f"lease lsn {tenant} {TIMELINE} {lsn} ".encode())
    assert pq.ExecStatus.TUPLES_OK == result.status, result.get_error_message()
    assert b"valid_until" == result.fname(0)
    return result.get_value(0, 0)


def test_lease(pageserver: Pageserver) -> None:
    """A lease says until when; an LSN that is collected already gets none."""
    pageserver.admin.set_lsn(gc_cutoff="0/100")
    with logged_in(pageserver.url) as connection:
        until = lease(connection, "0/100", f"{TENANT}-0000")
        assert until is not None
        assert time.time() < int(until) / 1000 < time.time() + 3600
        assert lease(connection, "0/FF") is None
        result = connection.exec_(b"lease lsn x y 0/0")
        assert pq.ExecStatus.FATAL_ERROR == result.status
