"""What Neon's client says of a shard, and how a test lets it speak."""

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import errors

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.support.daemon_stub import REFRESH, DaemonStub

Session = psycopg.Connection[tuple[Any, ...]]
LIST = "postgresql://no_user@pageserver-1:6400,postgresql://no_user@pageserver-2:6400"
ONE, TWO = LIST.split(",")
CLOSED = "server closed the connection unexpectedly"
REFUSED = (
    'connection to server at "pageserver-{}" (10.0.0.{}), port 6400 failed: Connection refused'
)
NOT_FOUND = "Not found: Tenant 1 was not found"


def tell(connection: Session, form: str, shard: int, value: str = "") -> None:
    """Let a session report as Neon's client does; some reports are errors."""
    with suppress(errors.IoError):
        connection.execute(f"SELECT fake_neon_shard('{form}', {shard}, '{value}')".encode())


def state(server: Postgres, shard: int) -> str | None:
    """Return what the views say of a shard."""
    rows = server.query("SELECT state FROM neon_refresh.shards WHERE shard = %s", shard)
    return rows[0][0] if rows else None


def sources(server: Postgres, daemon: DaemonStub) -> list[str]:
    """Return the sources of all requests when the worker has seen everything."""
    server.value("SELECT neon_refresh.request('flush')")
    wait_until(
        "the worker's look", lambda: "flush" in [it.body["text"] for it in daemon.of(REFRESH)]
    )
    return [post.body["source"] for post in daemon.of(REFRESH)]
