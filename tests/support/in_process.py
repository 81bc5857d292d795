"""Runs the `main` of a program of this checkout in this process.

Its own children then start as those of a test do, as forks, and nothing is imported twice.
"""

import gc
import sys
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO

import pytest


def run_main(module: str, *arguments: str) -> str:
    """Call `main` of *module* with these arguments, check that it succeeds; what it printed."""
    main = import_module(module).main
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as printed,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ResourceWarning)  # what the end of a process would close
        patch.setattr(sys, "argv", [module, *arguments])
        assert main() in (0, None), printed.getvalue()
        gc.collect()
    return printed.getvalue()
