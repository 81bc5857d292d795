"""What it takes to bring a body into force, for those who decide which one."""

from __future__ import annotations

from dataclasses import dataclass

from compute_ctl.document.render import RenderContext
from compute_ctl.node import Node
from compute_ctl.node.config_state import ConfigState
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.installer import Installer
from compute_ctl.reconciler.verifier import Verifier


@dataclass(frozen=True, kw_only=True)
class Means:
    """The parts that write, prove and remember, of one Postgres."""

    node: Node
    store: GenerationStore
    config: ConfigState
    verifier: Verifier
    installer: Installer
    context: RenderContext
