"""The name of the program, and the meaning of the exit status of its commands.

0 done, 1 failed or a negative outcome, 2 usage, or settings with which it cannot start, 3 no
control plane there, 4 not permitted.
"""

from __future__ import annotations

from typing import Final

PROGRAM: Final = "compute_control_plane"
COMPLETION_VARIABLE: Final = "_COMPUTE_CONTROL_PLANE_COMPLETE"
"""Set by a shell that asks for completions."""
TOKEN_VARIABLE: Final = "CONTROL_PLANE_ADMIN_TOKEN"  # noqa: S105 -- the name of a variable
EPILOG: Final = (
    "Exit status: 0 done; 1 failed or a negative outcome; 2 usage; 3 no control plane there; "
    f"4 not permitted. --url needs the admin token in {TOKEN_VARIABLE}."
)
