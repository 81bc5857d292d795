"""A pageserver over a small tree of files, as a real process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devstack.launch import Pageserver, start_pageserver
from tests.unit.devstack.clients import TENANT, TIMELINE

PageserverFactory = Callable[..., Pageserver]


@pytest.fixture
def pgdata(tmp_path: Path) -> Path:
    """A data directory's tree: relation 16384 with blocks a and b, one clog segment."""
    base = tmp_path / "pgdata" / "base" / "5"
    base.mkdir(parents=True)
    (base / "16384").write_bytes(b"a" * 8192 + b"b" * 8192)
    xact = tmp_path / "pgdata" / "pg_xact"
    xact.mkdir()
    (xact / "0000").write_bytes(b"x" * 8192)
    return tmp_path / "pgdata"


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


@pytest.fixture
def pageserver(make_pageserver: PageserverFactory) -> Pageserver:
    """A plain one."""
    return make_pageserver()
