"""What the machine must have is found out before anything is changed."""

import socket
import sys
from pathlib import Path

import pytest

from compute_common.errors import SettingsError
from compute_ctl.__main__ import main
from compute_ctl.cli.checks import check
from compute_ctl.cli.run import parse


def checked(folder: Path, *arguments: str) -> str | None:
    """What the checks of the machine say about a daemon in *folder*; None for nothing."""
    words = [
        "-D",
        str(folder),
        "-C",
        "host=/tmp",
        "-c",
        "f",
        "--internal-http-port",
        "0",
        "--external-http-port",
        "0",
        *arguments,
    ]
    try:
        check(parse(words, {}))
    except SettingsError as error:
        return str(error)
    return None


def test_data_directory(tmp_path: Path) -> None:
    """A data directory that is missing or is none is refused; an empty one is for initdb."""
    binary = ("-b", sys.executable)
    missing = tmp_path / "missing"
    assert checked(missing, "--attach") == f'data directory "{missing}" does not exist'
    assert checked(missing / "deeper", *binary) is not None
    assert checked(tmp_path, *binary) is None
    expected = f'"{tmp_path}" is not a data directory: it has no PG_VERSION'
    assert checked(tmp_path, "--attach") == expected
    (tmp_path / "file").touch()
    expected = f'"{tmp_path}" is neither empty nor a data directory: it has no PG_VERSION'
    assert checked(tmp_path, *binary) == expected
    assert (
        checked(tmp_path / "file", *binary)
        == f'data directory "{tmp_path}/file" is not a directory'
    )
    (tmp_path / "PG_VERSION").write_text("15\n")
    assert checked(tmp_path, *binary) is None
    assert checked(tmp_path, "--attach") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-b", "/no/such/postgres"], 'server binary "/no/such/postgres" does not exist'),
        (["-b", "/etc/passwd"], 'server binary "/etc/passwd" does not exist or cannot be executed'),
        (["-C", "nonsense"], "option -C: "),
        (["-C", "postgresql://h:99999/d"], "option -C: "),
        (["--state-dir", "/no/such/parent/state"], 'parent of the state directory, "/no/such/'),
        (["--socket-group", "nosuchgroup"], 'there is no group "nosuchgroup"'),
        (["--control-plane-ca", "/no/such/ca.pem"], 'certificate file "/no/such/ca.pem"'),
    ],
)
def test_what_the_machine_lacks(tmp_path: Path, arguments: list[str], message: str) -> None:
    """What is named must be there."""
    (tmp_path / "PG_VERSION").write_text("15\n")
    said = checked(tmp_path, "--attach", *arguments)
    assert said is not None
    assert said.startswith(message)


def test_port_in_use(tmp_path: Path) -> None:
    """A port that somebody else has is no mistake on the command line: the daemon waits for it."""
    (tmp_path / "PG_VERSION").write_text("15\n")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert checked(tmp_path, "--attach", "--internal-http-port", port) is None
        assert checked(tmp_path, "--attach", "--external-http-port", port) is None


@pytest.mark.parametrize("uri", ["cp:9898", "ftp://cp", "http://", "http://[::1"])
def test_control_plane_that_is_no_uri(tmp_path: Path, uri: str) -> None:
    """The control plane is reached by http or https."""
    (tmp_path / "PG_VERSION").write_text("15\n")
    words = ["-D", str(tmp_path), "-C", "host=/tmp", "-p", uri, "-i", "c", "--attach"]
    with pytest.raises(SettingsError, match="control plane URI "):
        check(parse(words, {}))


@pytest.mark.parametrize(
    "uri", ["patroni:8008", "etcd2://h:1/service/s", "http://h,http://h", "etcd://h:1"]
)
def test_patroni_that_is_no_uri(tmp_path: Path, uri: str) -> None:
    """Patroni is reached by http, https or its keys in etcd."""
    (tmp_path / "PG_VERSION").write_text("15\n")
    said = checked(tmp_path, "--attach", "--patroni", uri)
    assert said is not None
    assert said.startswith("patroni URI ")


def test_mistakes_end_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line `error`, one line `hint`, and the folder is as it was."""
    words = ["-D", str(tmp_path), "-C", "host=/tmp", "-c", "f", "--attach"]
    assert 2 == main(words)
    assert 2 == main(["run", *words])
    error = f'compute_ctl: error: "{tmp_path}" is not a data directory: it has no PG_VERSION\n'
    assert capsys.readouterr().err.startswith(error + "hint: With --attach, ")
    assert [] == list(tmp_path.iterdir())
