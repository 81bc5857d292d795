"""Queries that are answered once: base backups and leases of LSNs.

A base backup is the data directory as a tar, without the configuration file, which is the
compute's. What is on disk is sent, so the server of that directory must have ended in good order.
"""

import io
import tarfile
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from devstack.pageserver import service, wire
from devstack.pageserver.faults import Fault
from devstack.pageserver.service import Service
from devstack.pageserver.session import BackupQuery, LeaseQuery

LEFT_OUT: Final = frozenset({"postgresql.conf", "postmaster.pid", "postmaster.opts", "compute_ctl"})
SIGNAL: Final = "zenith.signal"
CHUNK: Final = 64 * 1024
END: Final = bytes(2 * tarfile.BLOCKSIZE)

Strike = Callable[[str], Awaitable[Fault | None]]
Send = Callable[[bytes], Awaitable[None]]


def archive(pgdata: Path) -> Iterator[bytes]:
    """The uncompressed tar of a data directory, in pieces."""
    signal = b"PREV LSN: none"
    yield _header(SIGNAL, len(signal)) + _padded(signal)
    for path in sorted(pgdata.rglob("*")):
        name = path.relative_to(pgdata)
        if name.parts[0] in LEFT_OUT or path.is_symlink():
            continue
        if path.is_dir():
            yield _header(str(name), 0, tarfile.DIRTYPE)
        elif path.is_file():
            yield from _file(path, str(name))
    yield END


def size(pgdata: Path) -> int:
    """Bytes of the files in the archive."""
    return sum(path.stat().st_size for path in pgdata.rglob("*") if path.is_file())


async def answer_query(
    query: BackupQuery | LeaseQuery, *, held: Service, send: Send, strike: Strike
) -> None:
    """Answer a query, all but its end, and strike the faults that are ordered. Raises EndStream."""
    if isinstance(query, LeaseQuery):
        lease = await held.lease(query.tenant, query.timeline, query.lsn)
        until = None if lease is None else str(int((time.time() + lease) * 1000))
        await send(wire.text_row("valid_until", until))
        return
    await _strike(strike, "basebackup")
    pgdata = await held.find_backup(query.tenant, query.timeline, query.lsn)
    await _send_backup(query, pgdata, send=send, strike=strike)


async def _send_backup(query: BackupQuery, pgdata: Path, *, send: Send, strike: Strike) -> None:
    await send(wire.COPY_OUT)
    packer = zlib.compressobj(1, wbits=31) if query.gzip else None
    sent, half = 0, size(pgdata) // 2
    for part in archive(pgdata):
        if sent <= half < sent + len(part):
            await _strike(strike, "basebackup_middle")
        sent += len(part)
        if data := packer.compress(part) if packer else part:
            await send(wire.copy_data(data))
    if packer:
        await send(wire.copy_data(packer.flush()))
    await _strike(strike, "basebackup_end")
    await send(wire.COPY_DONE)


async def _strike(strike: Strike, phase: str) -> None:
    if (fault := await strike(phase)) is not None:
        raise service.defect(fault.text or "basebackup failed by order")


def _file(path: Path, name: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        left = file.seek(0, io.SEEK_END)
        file.seek(0)
        yield _header(name, left)
        padding = -left % tarfile.BLOCKSIZE
        while left > 0:  # one that is cut meanwhile is filled up to the size in its header
            part = file.read(min(CHUNK, left)) or bytes(min(CHUNK, left))
            left -= len(part)
            yield part
        yield bytes(padding)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _header(name: str, length: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.mode = length, kind, 0o700
    return member.tobuf(tarfile.GNU_FORMAT)
