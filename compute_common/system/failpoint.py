"""Kills the process at a named step, for tests of crashes. A leaf.

Off unless COMPUTE_CTL_FAILPOINT names a step. `STEPS` has the steps of an application in order.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "COMPUTE_CTL_FAILPOINT"

STEPS: Final = (
    "before-generation",
    "before-token",
    "before-swap",
    "before-rename compute_ctl.conf",
    "before-signal",
    "before-late-generation",
    "before-proof",
    "before-sync",
    "before-save",
    "before-rename state.json",
    "after-save",
)

CLUSTER_STEPS: Final = (
    "before-install",
    "after-install-begun",
    "in-removal",
    "in-install",
    "before-version-file",
    "before-origin",
)
"""The steps in which a new cluster is moved into the data directory."""

PROMOTION_STEPS: Final = ("before-promote", "after-promote")
"""The call of pg_promote, between the two applications of a promotion."""


def reach(step: str) -> None:
    """Kill the process if *step* is the one named."""
    if os.environ.get(VARIABLE) == step:
        os.kill(os.getpid(), signal.SIGKILL)
