"""What an operator is told in trouble works as it stands."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from compute_ctl.__main__ import main
from devstack.compute import Compute


def hints(compute: Compute, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the hints of `status`, as one line."""
    capsys.readouterr()
    main(["status", "-D", str(compute.postgres.data)])
    _, _, advice = capsys.readouterr().out.partition("\nhint")
    return " ".join(advice.split())


def test_a_push_while_the_control_plane_is_dead(
    pulling: Compute, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The document kept of the generation in force, with new servers, sent as the hint says."""
    a, b = pulling.pageserver("a"), pulling.pageserver("b")
    pulling.publish(a)
    daemon = pulling.start_daemon()
    pulling.faults.strike("drop")
    assert "fetch_failed" == daemon.refresh()
    command = re.search(r"\((curl .*?/configure)\)", hints(pulling, capsys))
    assert command is not None

    generation = daemon.status()["config"]["applied"]["generation"]
    kept = pulling.postgres.data / "compute_ctl" / "g" / f"{generation}.json"
    document = json.loads(kept.read_text().replace(a.address, b.address))
    document["spec"]["generation"] += 1
    file = tmp_path / "document.json"
    file.write_text(json.dumps(document))
    words = ["/bin/sh", "-c", command[1].replace("@FILE", f"@{file}") + " -sS -f"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=30)

    assert b.url == pulling.setting("neon.pageserver_connstring")


def test_a_document_that_the_daemon_may_not_read(
    compute: Compute, capsys: pytest.CaptureFixture[str]
) -> None:
    """`refresh --wait` advises like `status`, on stderr, by the reason."""
    compute.publish(compute.pageserver("a"))
    compute.start_daemon()
    config = compute.postgres.folder / "config.json"
    config.rename(config.with_suffix(".away"))

    assert 1 == main(["refresh", "--wait", "-D", str(compute.postgres.data)])

    said = capsys.readouterr()
    assert "outcome: fetch_failed" in said.out
    assert said.err.startswith("hint: Put the file back, or is -c right? ")
    assert said.err.removeprefix("hint: ").strip() in hints(compute, capsys)


def test_a_refresh_while_postgres_is_stopped(
    compute: Compute, capsys: pytest.CaptureFixture[str]
) -> None:
    """The outcome `unproven` comes with its reason, also where nothing is an error."""
    a = compute.pageserver("a")
    compute.publish(a, settings={"work_mem": "8MB"})
    daemon = compute.start_daemon()
    compute.postgres.stop()
    daemon.wait_status("the end of postgres", lambda found: not found["postgres"]["pid"])
    compute.publish(a, settings={"work_mem": "9MB"})
    capsys.readouterr()

    assert 1 == main(["refresh", "--wait", "-D", str(compute.postgres.data)])

    said = capsys.readouterr()
    assert "outcome: unproven (postgres does not accept connections yet)" in said.out
    assert "hint: PostgreSQL does not run" in said.err
    assert "Start PostgreSQL" in hints(compute, capsys)
