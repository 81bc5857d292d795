"""Entry point: `compute_control_plane`. Nothing can be run yet."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the program; return its exit status."""
    sys.stderr.write("compute_control_plane: not implemented yet\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
