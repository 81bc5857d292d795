"""`publish` and `set`: an operator changes the document that the daemon reads from a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from compute_ctl.__main__ import main
from devstack.compute import Compute


class Operator:
    """Runs the commands against one daemon."""

    def __init__(self, compute: Compute, folder: Path) -> None:
        self.compute = compute
        self.a, self.b = compute.pageserver("a"), compute.pageserver("b")
        compute.publish(self.a, settings={"work_mem": "8MB"})
        self.config = compute.postgres.folder / "config.json"
        self.daemon = compute.start_daemon()
        self.file = folder / "new.json"

    def run(self, command: str, *words: str) -> int:
        """Return the exit status of *command* for this daemon."""
        return main([command, "-D", str(self.compute.postgres.data), *words])

    def document(self) -> dict[str, Any]:
        """What the daemon reads."""
        found: dict[str, Any] = json.loads(self.config.read_text())
        return found

    def generation(self) -> int:
        """The version of that."""
        return int(self.document()["spec"]["generation"])


@pytest.fixture
def operator(compute: Compute, tmp_path: Path) -> Operator:
    """An operator of a compute that runs."""
    return Operator(compute, tmp_path)


def test_a_document_is_published_above_the_one_before(operator: Operator) -> None:
    """Its generation is raised, owner and mode of the file stay, and the outcome is waited for."""
    before, owner = operator.generation(), operator.config.stat()
    document = operator.document()
    document["spec"]["generation"] = 0
    text = json.dumps(document).replace(operator.a.address, operator.b.address)
    operator.file.write_text(text)

    assert 0 == operator.run("publish", str(operator.file), "--yes")

    assert before + 1 == operator.generation()
    found = operator.config.stat()
    assert (owner.st_uid, owner.st_mode) == (found.st_uid, found.st_mode)
    assert operator.b.url == operator.compute.setting("neon.pageserver_connstring")


def test_the_same_document_is_not_written_again(operator: Operator) -> None:
    """Nothing is asked and nothing changes; the exit status is that of a refresh."""
    operator.file.write_bytes(operator.config.read_bytes())
    before = operator.config.stat()

    assert 0 == operator.run("publish", str(operator.file))

    assert before.st_ino == operator.config.stat().st_ino


def test_a_refused_document_is_a_failure(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where Postgres refuses a value the status is 1; what is no document is not written."""
    assert 1 == operator.run("set", "work_mem=8 parsecs", "--yes")
    assert "rejected" in capsys.readouterr().out
    assert "8192" == operator.compute.setting("work_mem")

    before = operator.config.read_bytes()
    operator.file.write_text('{"spec": {"cluster": {"settings": 3}}}')
    assert 1 == operator.run("publish", str(operator.file), "--yes")
    assert "spec.cluster.settings" in capsys.readouterr().err
    assert before == operator.config.read_bytes()


def test_settings_are_set_and_removed_in_one_generation(operator: Operator) -> None:
    """In force when the command returns."""
    before = operator.generation()

    assert 0 == operator.run("set", "WORK_MEM=16MB", "statement_timeout=1h", "--yes")

    assert before + 1 == operator.generation()
    assert "16384" == operator.compute.setting("work_mem")
    assert 0 == operator.run("set", "--remove", "work_mem", "--yes")
    assert "4096" == operator.compute.setting("work_mem")
    assert "3600000" == operator.compute.setting("statement_timeout")


def test_nothing_is_written_unless_somebody_agrees(
    operator: Operator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal `--yes` is needed; on one the difference is shown, without secrets."""
    before = operator.config.read_bytes()
    assert 2 == operator.run("set", "work_mem=16MB")
    assert "--yes" in capsys.readouterr().err

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    assert 1 == operator.run("set", "work_mem=16MB", "primary_conninfo=password=hush")
    shown = capsys.readouterr().err
    assert '"value": "16MB"' in shown
    assert "hush" not in shown
    assert before == operator.config.read_bytes()


def test_a_file_that_was_deleted_is_made_for_the_daemon(operator: Operator) -> None:
    """It belongs to the daemon's user, and nobody else may read it: it may hold secrets."""
    operator.file.write_bytes(operator.config.read_bytes().replace(b"8MB", b"16MB"))
    owner = operator.config.stat().st_uid
    operator.config.unlink()

    assert 2 == operator.run("set", "work_mem=16MB", "--yes")
    assert 0 == operator.run("publish", str(operator.file), "--yes")

    found = operator.config.stat()
    assert (owner, 0o600) == (found.st_uid, found.st_mode & 0o777)
    assert "16384" == operator.compute.setting("work_mem")


def test_documents_of_a_control_plane_are_published_there(
    pulling: Compute, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon has no file; the error says what has."""
    pulling.publish(pulling.pageserver("a"))
    pulling.start_daemon()
    assert 2 == main(["set", "work_mem=16MB", "--yes", "-D", str(pulling.postgres.data)])
    assert "compute_control_plane" in capsys.readouterr().err
