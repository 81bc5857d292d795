"""What a page request asks of the kernel while all is well."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.pg.conftest import MakeNeon, MakePageserver

PAGES = 200
READ = b"SELECT count(neon_refresh.read_page('t', n)) FROM generate_series(1, %d) n" % PAGES
NEEDED = {"sendto", "epoll_wait", "epoll_pwait", "recvfrom"}
STATEMENT = 20  # calls of the statement around the pages


def count_calls(pid: int, report: Path) -> "subprocess.Popen[str]":
    """Start to count the system calls of a process."""
    command = ["strace", "-f", "-c", "-o", str(report), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    if "attached" not in tracer.stderr.readline():
        tracer.wait(5)
        pytest.skip("this system lets nobody trace a process")
    return tracer


def calls_of(report: Path) -> dict[str, int]:
    """Read the counts: the fourth column, the name is the last."""
    lines = [line.split() for line in report.read_text().splitlines()]
    return {words[-1]: int(words[3]) for words in lines if len(words) > 4 and words[3].isdigit()}


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_a_page_costs_send_wait_and_receive(
    make_neon: MakeNeon, make_pageserver: MakePageserver, tmp_path: Path
) -> None:
    """One call of each, and a second receive at the most: the look at a stream that was idle."""
    server = make_neon(pageservers=make_pageserver().url)
    report = tmp_path / "calls"
    with server.connect() as session:
        session.execute(READ)
        tracer = count_calls(session.info.backend_pid, report)
        session.execute(READ)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=10)
    calls = calls_of(report)
    calls.pop("total", None)

    assert PAGES <= calls["sendto"] <= PAGES + STATEMENT
    assert PAGES <= calls["recvfrom"] <= 2 * PAGES + STATEMENT
    waits = sum(calls.get(name, 0) for name in ("epoll_wait", "epoll_pwait"))
    assert waits <= 3 * PAGES // 2 + STATEMENT  # an answer may come in two parts
    assert sum(count for name, count in calls.items() if name not in NEEDED) <= STATEMENT
