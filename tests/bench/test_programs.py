"""What `make bench` and `make demo` start, as processes; other tests call their `main`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = re.findall(r"/python -m ((?:bench|devstack)\.\w+)", (ROOT / "Makefile").read_text())


def start(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )


@pytest.mark.parametrize("module", MODULES)
def test_unknown_option(module: str) -> None:
    """Each program reads its command line: an option that it does not know is exit status 2."""
    done = start(module, "--nonsense")

    assert (2, "") == (done.returncode, done.stdout)
    assert f"usage: python -m {module}" in done.stderr
    assert "unrecognized arguments: --nonsense" in done.stderr


def test_success(tmp_path: Path) -> None:
    """A program that did what it could ends with status 0; here there is nothing to plot."""
    done = start("bench.plots", f"--from={tmp_path}", f"--to={tmp_path}")

    assert (0, "") == (done.returncode, done.stderr)
    assert "heal skipped: there is no" in done.stdout
