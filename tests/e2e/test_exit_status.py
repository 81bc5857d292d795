"""Every exit status that docs/cli.md promises, from the command itself."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compute_ctl.__main__ import main
from devstack.compute import Compute
from tests.support.nobody import AS_NOBODY

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
BY_OTHER_TESTS = {("run", status) for status in (0, 1, 2, 3)} | {("promote", 0)}
"""test_supervise, test_checks, test_detach and test_promotion."""


def documented() -> set[tuple[str, int]]:
    """Return (command, status) of each cell of the table that is not empty."""
    found = set()
    for line in DOCS.read_text().splitlines():
        row = re.fullmatch(r"\| (`[a-z]+`(?:, `[a-z]+`)*) \|(.*)\|", line)
        cells = row[2].split("|") if row else []
        if row and len(cells) == 5:
            commands = re.findall("[a-z]+", row[1])
            statuses = [status for status, cell in enumerate(cells) if cell.strip()]
            found |= {(command, status) for command in commands for status in statuses}
    return found


class Seen:
    """The exit statuses that were met."""

    def __init__(self) -> None:
        self.pairs: set[tuple[str, int]] = set()

    def expect(self, status: int, *words: str) -> None:
        """Run a command, which has to end with *status*."""
        found = main(words)
        assert (status, words) == (found, words)
        self.pairs.add((words[0], found))

    def as_nobody(self, *words: str) -> None:
        """Run a command as somebody without rights, who has to be told so."""
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
        assert (4, words) == (done.returncode, words), done.stderr
        self.pairs.add((words[0], done.returncode))


def test_each_documented_exit_status(
    compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commands, in the order of what happens to one compute."""
    monkeypatch.delenv("PGDATA", raising=False)
    seen, data = Seen(), str(compute.postgres.data)
    folder, document = ("-D", data), tmp_path / "document.json"
    seen.expect(1, "history", *folder)
    for command in ("status", "refresh", "rollback", "promote", "diff", "explain", "history"):
        seen.expect(2, command, "--no-such-option")
    for command in ("status", "refresh", "rollback", "promote"):
        seen.expect(3, command, *folder)
    seen.expect(2, "publish", "/no/such/file")
    seen.expect(2, "set")
    document.write_text("{}")
    for command, change in (("publish", str(document)), ("set", "work_mem=1MB")):
        seen.expect(3, command, change, "--yes", *folder)
    for command in ("validate", "render"):
        seen.expect(2, command, "/no/such/file")

    compute.publish(compute.pageserver("a"), settings={"work_mem": "8\nMB"})
    daemon = compute.start_daemon(in_sync=False)
    daemon.wait_status("the refusal", lambda found: found["status"] == "failed")
    seen.expect(1, "status", *folder)
    seen.expect(1, "refresh", "--wait", *folder)
    seen.expect(1, "rollback", *folder)
    seen.expect(1, "promote", *folder)
    compute.publish(compute.pageserver("b"), settings={"work_mem": "8MB"})
    seen.expect(0, "refresh", "--wait", *folder)
    compute.publish(compute.pageserver("b"), settings={"work_mem": "16MB"})
    seen.expect(0, "refresh", "--wait", *folder)
    seen.expect(0, "rollback", *folder)
    seen.expect(1, "publish", str(document), "--yes", *folder)
    seen.expect(1, "set", "work_mem=8 parsecs", "--yes", *folder)
    seen.expect(0, "set", "work_mem=8MB", "--yes", *folder)
    document.write_bytes((compute.postgres.folder / "config.json").read_bytes())
    seen.expect(0, "publish", str(document), "--yes", *folder)
    for command in ("status", "history", "diff"):
        seen.expect(0, command, *folder)

    document.write_text(json.dumps({"spec": {"cluster": {"settings": []}}}))
    for command in ("validate", "render"):
        seen.expect(0, command, str(document))
    seen.expect(1, "diff", str(document), *folder)
    shutil.copy(document, tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("{")
    for command in ("validate", "render"):
        seen.expect(1, command, str(tmp_path / "bad.json"))

    server = f"host={compute.postgres.host} port={compute.postgres.port} dbname=postgres"
    seen.expect(0, "explain", "work_mem", "-C", compute.postgres.conninfo)
    seen.expect(1, "explain", "no_such_setting", "-C", compute.postgres.conninfo)
    seen.expect(3, "explain", "work_mem", "-C", "host=127.0.0.1 port=9 user=u dbname=d")
    seen.expect(4, "explain", "work_mem", "-C", f"{server} user=no_such_role")

    expected = documented() - BY_OTHER_TESTS
    if os.geteuid() == 0:
        document.chmod(0o600)
        for command in ("status", "refresh", "rollback", "promote", "diff", "history"):
            seen.as_nobody(command, *folder)
        seen.as_nobody("publish", str(document), "--yes", *folder)
        seen.as_nobody("set", "work_mem=1MB", "--yes", *folder)
        for command in ("validate", "render"):
            seen.as_nobody(command, str(document))
    else:  # only root can become somebody without rights
        expected = {(command, status) for command, status in expected if status != 4}
        expected.add(("explain", 4))
    assert expected == seen.pairs
