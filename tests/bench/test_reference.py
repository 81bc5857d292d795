"""The model of Neon's policy does what was seen of the original."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench import reference
from devstack.postgres import Postgres


class Server:
    """A server whose list names another pageserver once it has been read twice."""

    def __init__(self, happened: list[str]) -> None:
        self._happened = happened
        self._reads = 0

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """Return a session that can only read the list."""
        yield SimpleNamespace(execute=self._read)

    def _read(self, _query: bytes) -> Any:
        self._reads += 1
        self._happened.append("read")
        url = "old" if self._reads <= 2 else "new"
        return SimpleNamespace(fetchone=lambda: (url,))


def test_a_list_is_read_before_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reload during the pause there is one more attempt at the old address."""
    happened: list[str] = []

    def connect(url: str) -> Any:
        happened.append(f"connect to {url}")
        return SimpleNamespace(finish=lambda: None) if url == "new" else None

    monkeypatch.setattr(reference, "connect", connect)
    monkeypatch.setattr("bench.reference.time.sleep", lambda _: happened.append("pause"))
    reference.suffer(
        cast(Postgres, Server(happened)), lambda: happened.append("ask"), stream_open=True
    )
    again = ["read", "pause", "connect to old", "read", "pause", "connect to new"]
    assert ["ask", "read", "connect to old", *again] == happened
