"""Makes what keeps the leases of a static compute."""

from __future__ import annotations

import random
from datetime import datetime

from compute_ctl.decisions.lsn_lease import LeaseRequest
from compute_ctl.monitoring.lsn_leases import LsnLeases
from compute_ctl.node import Node
from compute_ctl.ports import Clock
from compute_ctl.sql.lsn_lease import grant
from compute_ctl.store.state_dir import StateDir


def build_leases(node: Node, state: StateDir, clock: Clock) -> LsnLeases:
    """Return what keeps the leases of *node*."""

    def body() -> str:
        return node.config.written.body if node.config.written is not None else ""

    def ask(request: LeaseRequest, within_s: float) -> datetime:
        return grant(request, token=state.token(), within_s=within_s)

    return LsnLeases(
        body=body,
        on_status=node.server.leased,
        grant=ask,
        clock=clock,
        jitter=random.SystemRandom().random,
    )
