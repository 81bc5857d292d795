"""The demo, from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 200
"""On a machine that is busy with other tests."""


@pytest.mark.timeout(LIMIT_S + 20)
def test_demo() -> None:
    """Both outages end without a failed query; the control plane's verdict ends the second."""
    done = subprocess.run(
        [sys.executable, "-m", "devstack.demo", "--json"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=ROOT,
    )

    assert 0 == done.returncode, done.stderr
    observed, acted = json.loads(done.stdout)["outages"]
    assert ("observe", "act") == (observed["evidence"], acted["evidence"])
    assert ("observed", "acted") == (observed["verdict"], acted["verdict"])
    assert [0, 0] == [observed["queries_failed"], acted["queries_failed"]]
    assert all(taken is not None for taken in acted["phases_ms"].values())
    assert acted["phases_ms"]["page"] < observed["phases_ms"]["page"]
