"""Plugins of the test suite, where it keeps its files, and the versions it ran with."""

import os
import signal
import sys
import tempfile

import aiohttp
import hypothesis
import psycopg
import pytest

from devstack import fork_server
from devstack.installation import pg_config

pytest_plugins = ["tests.support.fixtures", "tests.e2e.fresh", "tests.e2e.promoting"]

hypothesis.settings.register_profile("busy", deadline=None)  # 200 ms pass on a busy machine
hypothesis.settings.load_profile("busy")

MEMORY = "/dev/shm"
MEMORY_NEEDED = 4 << 30
PROGRAMS = (
    "control_plane",
    "compute_ctl",
    "devstack.fault_proxy",
    "devstack.pageserver",
    "devstack.proxy",
    "devstack.storage_controller",
)
"""What tests start again and again."""
IMPORTED_LATE = (
    "psycopg",
    "psycopg.pq",
    "jwt",
    "jwt.api_jwk",
    "rich.console",
    "rich.table",
    "zstandard",
)
"""By these programs, when they first need it: a tenth of a second of CPU time for each daemon."""
LONG = (
    "tests/simulation_control_plane/",
    "tests/pg/test_herd",
    "tests/e2e/test_crashes",
    "tests/pg/test_failures",
    "tests/bench/test_commands",
    "tests/pg/test_waits",
    "tests/simulation/",
    "tests/e2e/test_supervise",
    "tests/chaos/",
    "tests/control_plane/",
    "tests/e2e/",
    "tests/pg/",
    "tests/daemon/",
)
"""What takes longest, first: then short files are left to fill what is left of the time."""
SLOW_START = ("PYTHONDONTWRITEBYTECODE", "SSL_CERT_FILE")
"""Set where this was written: each interpreter compiled every module and read 140 certificates."""


def memory_will_do() -> bool:
    """Whether there is a file system in memory with room, from which programs may be run."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return False
    disk = os.statvfs(MEMORY)
    return disk.f_bavail * disk.f_frsize > MEMORY_NEEDED and not disk.f_flag & os.ST_NOEXEC


def pytest_configure() -> None:
    """Keep the data directories in memory: a copy of one takes a tenth of the time.

    And let Postgres be stopped: a job in the background has SIGQUIT ignored, and hands that on.
    """
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    for name in SLOW_START:
        os.environ.pop(name, None)
    sys.dont_write_bytecode = False
    fork_server.use(fork_server.ForkServer(*PROGRAMS, libraries=IMPORTED_LATE))
    if memory_will_do():
        tempfile.tempdir = MEMORY


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, or one worker is left alone with them in the end."""

    def rank(item: pytest.Item) -> int:
        starts = (number for number, start in enumerate(LONG) if item.nodeid.startswith(start))
        return next(starts, len(LONG))

    items.sort(key=rank)


def pytest_report_header() -> str:
    """Name the server, the libraries under test and the temporary folder."""
    libpq = psycopg.pq.version()
    server = pg_config("version")
    libraries = f"psycopg {psycopg.__version__} (libpq {libpq}), aiohttp {aiohttp.__version__}"
    return f"{server}, {libraries}, files in {tempfile.gettempdir()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was simulated."""
    found = [
        figures
        for report in terminalreporter.getreports("passed")
        for name, figures in report.user_properties
        if name == "simulated"
    ]
    if found:
        seeds, hours, checks = (sum(column) for column in zip(*found, strict=True))
        terminalreporter.write_line(
            f"simulation: {seeds} seeds, {hours:.1f} hours, {checks} checks of invariants"
        )
