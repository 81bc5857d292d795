"""Catalog work in a line: what a document wants, done on a server, and what is there then."""

import time
from typing import Any

import msgspec

from compute_common.document.document import decode_document
from compute_ctl.catalog.desired import DesiredCatalog
from compute_ctl.catalog.executor import PlanExecutor
from devstack.postgres import Postgres


def desired(
    *,
    roles: tuple[Any, ...] = (),
    databases: tuple[Any, ...] = (),
    deltas: tuple[tuple[str, ...], ...] = (),
    **spec: Any,
) -> DesiredCatalog:
    """What such a document wants; a role is its name or an object, a database (name, owner)."""
    document = {
        "spec": {
            "cluster": {
                "roles": [{"name": one} if isinstance(one, str) else one for one in roles],
                "databases": [
                    {"name": one[0], "owner": one[1]} if isinstance(one, tuple) else one
                    for one in databases
                ],
            },
            "delta_operations": [
                dict(zip(("action", "name", "new_name"), delta, strict=False)) for delta in deltas
            ],
            **spec,
        }
    }
    found = DesiredCatalog.of(decode_document(msgspec.json.encode(document)))
    assert found is not None
    return found


def apply(
    server: Postgres, target: DesiredCatalog, *, within_s: float = 30, concurrency: int = 2
) -> int:
    """Do the work; return how many steps it took."""
    executor = PlanExecutor(
        connstr=server.dsn(),
        deadline=time.monotonic() + within_s,
        privileged="neon_superuser",
        concurrency=concurrency,
    )
    assert executor.run(target)
    return executor.done


def databases(server: Postgres) -> dict[str, str]:
    """Owner of each database."""
    return dict(server.query("SELECT datname, pg_get_userbyid(datdba) FROM pg_database"))


def roles(server: Postgres) -> set[str]:
    """All roles."""
    return {name for (name,) in server.query("SELECT rolname FROM pg_roles")}
