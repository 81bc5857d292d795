"""What it takes to bring a body into force, for those who decide which one."""

from __future__ import annotations

from dataclasses import dataclass

from compute_ctl.configurator.installer import Installer
from compute_ctl.configurator.journal import Journal
from compute_ctl.configurator.ledger import Ledger
from compute_ctl.configurator.prover import Prover
from compute_ctl.document.render import RenderContext
from compute_ctl.node import Node


@dataclass(frozen=True, kw_only=True)
class Means:
    """The parts that write, prove and remember, of one Postgres."""

    node: Node
    journal: Journal
    ledger: Ledger
    prover: Prover
    installer: Installer
    context: RenderContext
