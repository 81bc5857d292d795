"""The limit of open files, in a process of its own."""

import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from compute_common.errors import SettingsError
from compute_common.system.file_limit import raise_file_limit
try:
    print(raise_file_limit(*map(int, sys.argv[1:])), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
except SettingsError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected"),
    [
        (256, 4096, [], "1024 1024"),
        (2000, 4096, [], "1024 2000"),
        (200, 300, [], "300 300"),
        (256, 4096, ["3000"], "3000 3000"),
        (256, 4096, ["5000"], "4096 4096"),
        (26, 26, [], "the limit of open files is 26, at least 64 are needed"),
    ],
)
def test_limit_is_raised_as_far_as_allowed(
    soft: int, hard: int, wanted: list[str], expected: str
) -> None:
    """Up to what is useful; too low a limit is told, and refused where nothing would work."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *wanted],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )
    assert expected == done.stdout.strip()
