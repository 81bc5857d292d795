"""`validate -D` says "valid" only of what the server's binary has read."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_ctl.__main__ import main
from tests.support.nobody import AS_NOBODY

DOCUMENT = '{"spec": {"cluster": {"settings": []}}}'
only_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become somebody without rights"
)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A file with a good document."""
    path = tmp_path / "config.json"
    path.write_text('{"spec": {"cluster": {}}}')
    return path


def binary(folder: Path, script: str) -> Path:
    """A server binary that does what *script* says."""
    path = folder / "postgres"
    path.write_text(script)
    path.chmod(0o755)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory."""
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 'no library' >&2\nexit 127\n", "exit status 127: no library"),
        ("#!/no/such/shell\n", '"{binary}": No such file or directory'),
    ],
)
def test_server_that_cannot_be_asked(
    document: Path, data: Path, capsys: pytest.CaptureFixture[str], script: str, reason: str
) -> None:
    """A binary that does not judge is told with the reason; nothing is called valid."""
    server = binary(data.parent, script)
    assert 1 == main(["validate", str(document), "-D", str(data), "-b", str(server)])
    said = capsys.readouterr()
    expected = f"could not ask the server's binary: {reason.format(binary=server)}"
    assert said.err.splitlines()[0] == f"compute_ctl: error: {expected}"
    assert "" == said.out


def test_server_that_hangs(
    document: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No answer in time is no "valid"."""
    server = binary(data.parent, "#!/bin/sh\nexec sleep 60\n")
    assert 1 == main(["validate", str(document), "-D", str(data), "-b", str(server)])
    said = capsys.readouterr()
    assert "could not ask the server's binary: no answer within 5 s\n" in said.err
    assert "" == said.out


def test_binary_is_found_from_where_we_are(
    document: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A relative name of the binary means the same as in the shell."""
    binary(data.parent, "#!/bin/sh\nexit 0\n")
    monkeypatch.chdir(data.parent)
    assert 0 == main(["validate", str(document), "-D", str(data), "-b", "./postgres"])
    assert capsys.readouterr().out == f"{document}: valid\n"


def as_nobody(*words: str) -> tuple[int, str, str]:
    """Run a command without rights; return exit status, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=55,  # less than the test has
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def visible() -> Iterator[Path]:
    """A folder of root's that others can see, but not enter."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@only_root
@pytest.mark.parametrize("command", ["validate /etc/passwd", "diff"])
@pytest.mark.parametrize("inside", ["", "data"], ids=["folder", "parent"])
def test_folder_that_may_not_be_entered(visible: Path, command: str, inside: str) -> None:
    """Who may not look into the data directory is told who may, with exit status 4."""
    folder = visible / inside
    folder.mkdir(exist_ok=True)
    status, out, error = as_nobody(*command.split(), "-D", str(folder))
    assert (4, "") == (status, out)
    expected = f'compute_ctl: error: may not read "{folder}"\nhint: Run this as root.\n'
    assert error == expected


@only_root
def test_folder_that_may_not_be_written(visible: Path) -> None:
    """Where the candidate cannot be laid beside the live file nothing is called valid."""
    visible.chmod(0o755)
    (visible / "config.json").write_text(DOCUMENT)
    words = ("validate", str(visible / "config.json"), "-D", str(visible), "-b", "/bin/true")
    status, out, error = as_nobody(*words)
    assert (4, "") == (status, out)
    first, hint = error.splitlines()
    assert first.startswith("compute_ctl: error: could not ask the server's binary: ")
    assert first.endswith(": Permission denied")
    assert "hint: Run this as root." == hint


def test_name_of_the_file_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A complaint begins with the file as it was named, capitals too."""
    (tmp_path / "Document.json").write_text("{}")
    with contextlib.chdir(tmp_path):
        assert 1 == main(["validate", "Document.json"])
    assert capsys.readouterr().err.startswith("compute_ctl: error: Document.json: ")


def test_strict_refuses_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt field is a warning, and with --strict a refusal that programs see, too."""
    path = tmp_path / "document.json"
    path.write_text('{"spec": {"cluster": {"setings": []}}}')
    warning = 'spec.cluster.setings: unknown field, ignored, did you mean "settings"?'

    assert 0 == main(["validate", str(path)])
    assert warning in capsys.readouterr().err
    assert 1 == main(["validate", "--strict", str(path)])
    out, err = capsys.readouterr()
    assert "" == out
    assert warning in err
    assert "--strict" in err
    assert 1 == main(["validate", "--strict", "--json", str(path)])
    found = json.loads(capsys.readouterr().out)
    assert (False, []) == (found["valid"], found["errors"])
    assert warning in found["warnings"]
