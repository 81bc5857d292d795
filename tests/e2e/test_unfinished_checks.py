"""Settings that a server would hang on, or take seconds to read: refused, and never a heal lost."""

import os
import time
from pathlib import Path

import pytest

from devstack.compute import Compute
from devstack.installation import binary, give_away
from devstack.launch import Pageserver
from devstack.wait import wait_until
from tests.e2e.conftest import ComputeFactory

BOUND_S = 5.0
"""A document that is refused without asking the server is refused within this."""


def publish(compute: Compute, server: Pageserver, text: str) -> None:
    """Publish a document with *text* for the configuration file."""
    document = compute.publish(server)
    document["spec"]["cluster"]["postgresql_conf"] = text
    compute.publish_document(document)


def live(compute: Compute) -> str:
    """Return the file that the daemon has written."""
    return (compute.postgres.data / "compute_ctl.conf").read_text()


def test_an_included_fifo_is_refused_at_once(compute: Compute) -> None:
    """Nothing is touched, and the reason names line and file; the postmaster would hang on it."""
    a = compute.pageserver("a")
    compute.publish(a)
    daemon = compute.start_daemon()
    before, fifo = live(compute), compute.folder / "fifo"
    os.mkfifo(fifo, 0o666)

    publish(compute, a, f"work_mem = '5MB'\ninclude_if_exists = '{fifo}'\n")
    begun = time.monotonic()
    assert "rejected" == daemon.refresh()

    assert time.monotonic() - begun < BOUND_S
    assert before == live(compute)
    reason = f'"include_if_exists" (line 2) names "{fifo}", which is a FIFO and no regular file'
    assert f"spec.cluster.postgresql_conf: {reason}" == daemon.status()["error"]
    assert "4096" == compute.setting("work_mem")  # it still answers


def hanging(folder: Path) -> str:
    """Return a server binary that never ends its check of a file that says "hang"."""
    path = folder / "hanging-postgres"
    path.write_text(
        f"""#!/bin/sh
for word; do case $word in config_file=*) file=${{word#config_file=}};; esac; done
grep -q hang "$file" && exec sleep 60
exec {binary("postgres")} "$@"
"""
    )
    path.chmod(0o755)
    give_away(path)
    return str(path)


def test_a_check_without_end_refuses_the_rest(make_compute: ComputeFactory) -> None:
    """The settings stay out, the newest servers go in, and a document in time is taken again."""
    compute = make_compute()
    compute.daemon.argv += ["--pgbin", hanging(compute.folder)]
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, settings={"work_mem": "5MB"})
    daemon = compute.start_daemon()

    compute.publish(b, settings={"work_mem": "6MB", "my.hang": "on"})
    assert "rejected" == daemon.refresh()

    assert (b.url, "5120") == (
        compute.setting("neon.pageserver_connstring"), compute.setting("work_mem")
    )  # fmt: skip
    status = daemon.status()
    assert status["error"].endswith("did not come to an end: no answer within 5 s")
    assert not status["config"]["in_sync"]
    assert 503 == daemon.call("GET", "/syncz")[0]
    assert 1 == len(status["config"]["quarantined"])

    compute.publish(b, settings={"work_mem": "7MB"})
    assert "applied" == daemon.refresh()
    assert "7168" == compute.setting("work_mem")


def test_too_many_settings_are_refused(make_compute: ComputeFactory) -> None:
    """The daemon's flag says how many; the message names field, number and limit."""
    compute = make_compute(daemon_options=("--max-settings", "20"))
    a = compute.pageserver("a")
    compute.publish(a)
    daemon = compute.start_daemon()

    compute.publish(a, settings={f"my.s{number}": "1" for number in range(21)})
    assert "rejected" == daemon.refresh()

    said = "spec.cluster.settings: 21 settings exceed the limit of 20"
    assert said == daemon.status()["error"]
    compute.publish(a, settings={f"my.s{number}": "1" for number in range(20)})
    assert "applied" == daemon.refresh()


def may_trace() -> bool:
    """Whether a process may look into another one of its user, as the kernel is set up."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return not scope.exists() or scope.read_text().strip() == "0"


@pytest.mark.skipif(not may_trace(), reason="the kernel lets no process look into another")
def test_the_file_that_postgres_waits_for_is_named(compute: Compute) -> None:
    """An operator's include hangs the postmaster: nothing is proven, and the status says why."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)
    daemon = compute.start_daemon()
    fifo = compute.folder / "fifo"
    os.mkfifo(fifo, 0o666)
    give_away(fifo)
    main = compute.postgres.data / "postgresql.conf"
    main.write_text(f"{main.read_text()}include_if_exists = '{fifo}'\n")

    compute.publish(b)
    try:
        assert "unproven" == daemon.refresh()
        assert f'it waits for file "{fifo}"' in daemon.status()["error"]
    finally:
        main.write_text(main.read_text().replace(f"include_if_exists = '{fifo}'\n", ""))
        # the postmaster goes on as soon as somebody has opened the other end
        wait_until("the postmaster", lambda: opened(fifo))


def opened(fifo: Path) -> bool:
    """Open *fifo* for writing, if somebody reads it, and close it."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
