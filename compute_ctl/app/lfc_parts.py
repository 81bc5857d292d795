"""Makes what prewarms and offloads the file cache."""

from __future__ import annotations

import time

from compute_ctl.lfc import FileCache
from compute_ctl.lfc.functions import CacheFunctions
from compute_ctl.monitoring.metrics import Metrics
from compute_ctl.node import Node
from compute_ctl.ports import Postgres


def build_file_cache(
    node: Node, postgres: Postgres, metrics: Metrics, *, connstr: str
) -> FileCache:
    """Return the file cache of *node*."""

    def server() -> int | None:
        return postgres.pid if postgres.ready else None

    def quiet() -> bool:
        busy = node.requests.pending or node.requests.suspected(time.monotonic())
        return node.config.proven and not busy and not node.terminating

    return FileCache(
        functions=CacheFunctions(connstr),
        spec=lambda: node.config.spec,
        server=server,
        quiet=quiet,
        on_start=metrics.neon.on_cache_start,
        on_failure=metrics.neon.on_cache_failure,
    )
