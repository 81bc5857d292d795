"""An included file that changes between its check and the reload: it costs itself, never a heal."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.compute import Compute
from devstack.installation import binary, give_away
from tests.e2e.conftest import ComputeFactory
from tests.e2e.test_unfinished_checks import may_trace, publish


def swapping(folder: Path, include: Path, other: Path) -> str:
    """Return a server binary that puts *other* in the place of *include* after a check."""
    path = folder / "swapping-postgres"
    path.write_text(
        f"""#!/bin/sh
{binary("postgres")} "$@"
status=$?
test -e {other} && mv {other} {include}
exit $status
"""
    )
    path.chmod(0o755)
    give_away(path)
    return str(path)


def bad_value(path: Path) -> None:
    """Make a file with a value that the server skips."""
    path.write_text("work_mem = 'bogus'\n")


def unknown_name(path: Path) -> None:
    """Make a file for which the server refuses all files."""
    path.write_text("no_such_setting = 1\n")


def link(path: Path) -> None:
    """Make a link to a file that the server cannot read."""
    target = path.with_name("elsewhere.conf")
    target.write_text("work_mem = '\n")
    give_away(target)
    path.symlink_to(target)


def pipe(path: Path) -> None:
    """Make a file on which the postmaster hangs."""
    os.mkfifo(path, 0o666)
    path.chmod(0o666)


def include(make_compute: ComputeFactory) -> tuple[Compute, Path, Path]:
    """Return a compute, a good file for it to include, and what takes its place after a check."""
    compute = make_compute()
    good, other = compute.folder / "include.conf", compute.folder / "other.conf"
    good.write_text("work_mem = '5MB'\n")
    give_away(good)
    compute.daemon.argv += ["--pgbin", swapping(compute.folder, good, other)]
    return compute, good, other


NEEDS_TRACE = pytest.mark.skipif(not may_trace(), reason="the kernel names no blocked file")


@pytest.mark.parametrize(
    "change", [bad_value, unknown_name, link, pytest.param(pipe, marks=NEEDS_TRACE)]
)
def test_what_changes_after_its_check_is_refused(
    make_compute: ComputeFactory, change: Callable[[Path], None]
) -> None:
    """The status names it, the newest servers are in force, and a good file is taken again."""
    compute, path, other = include(make_compute)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    change(other)
    give_away(other)

    publish(compute, b, f"include = '{path}'\n")
    assert "rejected" == daemon.refresh()

    assert (b.url, "4096") == (
        compute.setting("neon.pageserver_connstring"), compute.setting("work_mem")
    )  # fmt: skip
    status = daemon.status()
    assert str(path) in status["error"]
    assert (False, "") == (status["config"]["in_sync"], status["config"]["applied"]["sha256"])
    assert 503 == daemon.call("GET", "/syncz")[0]

    path.unlink()
    path.write_text("work_mem = '6MB'\n")
    give_away(path)
    publish(compute, b, f"include = '{path}'\nhash_mem_multiplier = 3\n")
    assert "applied" == daemon.refresh()
    assert "6144" == compute.setting("work_mem")


def test_what_breaks_later_is_drift(make_compute: ComputeFactory) -> None:
    """A document that ran is not blamed, and not replaced: its include may be mended."""
    compute, path, _ = include(make_compute)
    a = compute.pageserver("a")
    publish(compute, a, f"include = '{path}'\n")
    daemon = compute.start_daemon()

    bad_value(path)
    compute.postgres.reload()
    found = daemon.wait_status("the drift", lambda found: found["postgres"]["drift"] and found)

    assert [("work_mem", str(path))] == [
        (one["name"], one["file"]) for one in found["postgres"]["drift"]
    ]
    assert [] == found["config"]["quarantined"]
    path.write_text("work_mem = '6MB'\n")
    compute.postgres.reload()
    daemon.wait_status("no drift", lambda found: not found["postgres"]["drift"])
    assert "6144" == compute.setting("work_mem")
