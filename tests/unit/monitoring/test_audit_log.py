"""The audit log is measured, whatever becomes of a measurement."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_ctl.monitoring.audit_log import AuditLog
from devstack.wait import until

NOBODY_HAS_SO_MUCH = 1 << 46


@pytest.fixture
def no_threads() -> Iterator[None]:
    """Have the system refuse every new thread, for want of room for its stack."""
    before = threading.stack_size(NOBODY_HAS_SO_MUCH)
    yield
    threading.stack_size(before)


def test_size(tmp_path: Path) -> None:
    """Its size is the sum of its files; one that is not there has none."""
    for name, size in (("a.log", 100), ("b.log", 11)):
        (tmp_path / name).write_bytes(b"x" * size)
    folders = (tmp_path, tmp_path / "gone")
    sizes = [AuditLog(folder=one, kept=lambda: True, on_size=print).size() for one in folders]
    assert [111, 0] == sizes


async def test_goes_on_where_there_is_no_thread(
    tmp_path: Path, no_threads: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A measurement that cannot begin is told; the next one counts."""
    (tmp_path / "a.log").write_bytes(b"x" * 100)
    sizes: asyncio.Queue[int] = asyncio.Queue()
    log = AuditLog(folder=tmp_path, kept=lambda: True, on_size=sizes.put_nowait, interval_s=0.01)
    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(log.run())
        await until("it is told", lambda: caplog.records)
        threading.stack_size(0)
        assert 100 == await asyncio.wait_for(sizes.get(), 5)
    task.cancel()
    assert f'could not measure "{tmp_path}"' == caplog.records[0].message
