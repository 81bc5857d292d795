"""The controller's database: one JSON file of rows, which several controllers may share.

Each change locks the file, reads it, changes its own rows and replaces it, so that two controllers
on one file behave as two on one database: neither loses the other's rows, and the generation of a
shard never falls.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devstack.storage_controller.model import Node, Shard, State, Tenant, Timeline, node_from

TABLES = ("nodes", "tenants", "shards", "safekeepers", "timelines")
Rows = dict[str, dict[str, Any]]


class StateFileError(Exception):
    """The file cannot be used."""


class StateFile:
    """Reads and writes rows. Raises StateFileError and OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> State:
        """Everything; a missing file is an empty state."""
        rows = self._read()
        try:
            return _state(rows)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateFileError(f'cannot read state file "{self._path}": {error!r}') from error

    def save_nodes(self, *nodes: Node) -> None:
        """Write nodes."""
        with self._changing() as rows:
            rows["nodes"].update({str(node.id): node.row() for node in nodes})

    def save_tenant(self, tenant: Tenant) -> None:
        """Write a tenant and its shards."""
        with self._changing() as rows:
            rows["tenants"][tenant.id] = tenant.row()
            _put_shards(rows, tenant.shards)

    def next_generation(self, shard: Shard) -> int:
        """Raise the generation of a shard by one, and return it."""
        with self._changing() as rows:
            _put_shards(rows, [shard])
            row = rows["shards"][shard.id]
            row["generation"] += 1
            generation: int = row["generation"]
        return generation

    def save_safekeeper(self, number: int, hostname: str | None) -> None:
        """Write a safekeeper."""
        with self._changing() as rows:
            rows["safekeepers"][str(number)] = {"hostname": hostname}

    def save_timeline(self, timeline: Timeline) -> None:
        """Write a timeline."""
        with self._changing() as rows:
            rows["timelines"][f"{timeline.tenant_id}/{timeline.timeline_id}"] = {
                "generation": timeline.generation,
                "members": timeline.members,
                "new_members": timeline.new_members,
            }

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Rows]]:
        with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = self._read()
            yield rows
            temporary = self._path.with_name(f"{self._path.name}.tmp")
            temporary.write_text(json.dumps(rows))
            temporary.replace(self._path)

    def _read(self) -> dict[str, Rows]:
        try:
            found = json.loads(self._path.read_bytes())
            return {table: found[table] for table in TABLES}
        except FileNotFoundError:
            return {table: {} for table in TABLES}
        except (ValueError, KeyError, TypeError) as error:
            raise StateFileError(f'cannot read state file "{self._path}": {error!r}') from error


def _put_shards(rows: dict[str, Rows], shards: list[Shard]) -> None:
    for shard in shards:
        old = rows["shards"].get(shard.id, {"generation": 0})
        generation = max(shard.generation, old["generation"])
        rows["shards"][shard.id] = {**shard.row(), "generation": generation}


def _state(rows: dict[str, Rows]) -> State:
    state = State(
        nodes={int(number): node_from(row) for number, row in rows["nodes"].items()},
        safekeepers={int(number): row["hostname"] for number, row in rows["safekeepers"].items()},
    )
    for tenant_id, row in rows["tenants"].items():
        tenant = state.tenants[tenant_id] = Tenant(id=tenant_id, shards=[], **row)
        count = tenant.shard_count
        for number in range(max(1, count)):
            shard = Shard(tenant_id=tenant_id, number=number, count=count)
            for name, value in rows["shards"][shard.id].items():
                setattr(shard, name, value)
            tenant.shards.append(shard)
    for name, row in rows["timelines"].items():
        tenant_id, _, timeline_id = name.partition("/")
        state.timelines[tenant_id, timeline_id] = Timeline(
            tenant_id=tenant_id, timeline_id=timeline_id, **row
        )
    return state
