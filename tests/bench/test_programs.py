"""What `make bench` and `make demo` start, as programs; other tests call their `main`."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = re.findall(r"/python -m ((?:bench|devstack)\.\w+)", (ROOT / "Makefile").read_text())


@pytest.mark.parametrize("module", MODULES)
def test_unknown_option(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each program reads its command line: an option that it does not know is exit status 2."""
    monkeypatch.setattr(sys, "argv", [module, "--nonsense"])
    for name in (module, f"{module}.__main__"):  # or runpy warns of a second copy
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)

    printed = capsys.readouterr()
    assert (2, "") == (ended.value.code, printed.out)
    assert f"usage: python -m {module}" in printed.err
    assert "unrecognized arguments: --nonsense" in printed.err


def test_success(tmp_path: Path) -> None:
    """A program that did what it could ends with status 0; here there is nothing to plot."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.plots", f"--from={tmp_path}", f"--to={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert "heal skipped: there is no" in done.stdout
