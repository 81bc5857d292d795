"""The metrics do not depend on what the environment means for other programs."""

import os
import subprocess
import sys


def test_counters_are_kept_in_memory() -> None:
    """A folder for the metrics of several processes, which need not exist, is not used."""
    code = "from compute_ctl.monitoring.metrics import Metrics; Metrics()"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, timeout=30, check=False, capture_output=True
    )

    assert (0, b"") == (done.returncode, done.stderr)
