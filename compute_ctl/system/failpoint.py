"""Ends the process at a named step, as a crash would; for tests of what is left behind. A leaf.

Off unless COMPUTE_CTL_FAILPOINT names a step. The steps of an application, in order, are in
`STEPS`; each names the place that is reached next.
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


def reach(step: str) -> None:
    """End here if *step* is the one that is named."""
    if os.environ.get(VARIABLE) == step:
        os.kill(os.getpid(), signal.SIGKILL)
