"""Makes what configures the programs beside Postgres."""

from __future__ import annotations

import asyncio
import os

from compute_ctl.node import Node
from compute_ctl.ports import Clock, Postgres
from compute_ctl.sidecars import Sidecars
from compute_ctl.sidecars.certificates import Certificates
from compute_ctl.sidecars.local_proxy import LocalProxy
from compute_ctl.sidecars.pgbouncer import Pgbouncer, console
from compute_ctl.sidecars.sidecars import Sidecar
from compute_ctl.sidecars.wanted import Wanted


def build_sidecars(node: Node, postgres: Postgres, clock: Clock, *, attach: bool) -> Sidecars:
    """Return the programs beside *postgres*; where somebody else runs it, TLS is theirs, too."""

    def wanted() -> Wanted | None:
        spec = node.config.spec
        if spec is None or not node.config.proven:
            return None
        return Wanted.of(spec, node.config.ctl_config)

    programs: list[Sidecar] = [Pgbouncer(*console(os.environ)), LocalProxy()]
    if not attach:
        loop = asyncio.get_running_loop()
        programs.append(Certificates(lambda: loop.call_soon_threadsafe(postgres.reload)))
    return Sidecars(programs, wanted=wanted, on_state=node.server.configured, wall=clock.wall)
