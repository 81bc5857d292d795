"""The flags of `run`, and what is wrong with them in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from compute_common.errors import SettingsError
from control_plane.__main__ import main
from control_plane.cli.run import read_settings, run
from control_plane.settings import EvidenceMode, ListenAddress, Settings

NOTHING: Mapping[str, str] = {}


def parse(*words: str, environment: Mapping[str, str] = NOTHING) -> Settings:
    """The settings of a command line."""
    context = run.make_context("run", list(words))
    return read_settings(context.params, environment)


def test_defaults() -> None:
    """Without flags only this machine is served, and nothing is acted on."""
    assert Settings() == parse()
    assert (True, False, EvidenceMode.OBSERVE) == (
        parse().listen.is_loopback,
        parse().managed,
        parse().evidence,
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":3090", ListenAddress("", 3090)),
        ("127.0.0.1:0", ListenAddress("127.0.0.1", 0)),
        ("[::1]:8", ListenAddress("::1", 8)),
        ("localhost:80", ListenAddress("localhost", 80)),
    ],
)
def test_listen(text: str, address: ListenAddress) -> None:
    """HOST:PORT, with brackets for IPv6."""
    assert (address, text) == (parse("--listen", text).listen, str(address))


def test_tokens(tmp_path: Path) -> None:
    """A file wins over the environment; neither is shown."""
    file = tmp_path / "token"
    file.write_text(" from-a-file\n")
    found = parse(
        "--hook-token-file",
        str(file),
        environment={
            "CONTROL_PLANE_HOOK_TOKEN": "x",
            "CONTROL_PLANE_COMPUTE_TOKEN": "from-outside",
        },
    )
    assert ("from-a-file", "from-outside") == (found.hook_token, found.compute_token)
    assert "from-" not in repr(found)


def test_paths(tmp_path: Path) -> None:
    """Socket and key are beside the store unless they are named."""
    found = parse("--store", str(tmp_path / "state.db"), "--jwt-key", "/etc/key")
    assert (tmp_path / "admin.sock", Path("/etc/key")) == (
        found.admin_socket_path,
        found.jwt_key_path,
    )


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("--tls-cert", "/c"), "--tls-cert and --tls-key must be given together"),
    (("--admin-listen", ":1"), "--admin-listen needs --admin-token-file"),
    (("--evidence", "act"), "--evidence act needs --storage-controller"),
    (
        ("--storage-controller", "http://c:1", "--listen", ":3090"),
        "--listen :3090 with --storage-controller needs --hook-token-file",
    ),
    (
        ("--hook-token-file", "/nowhere/token"),
        'could not read token file "/nowhere/token": no such file or directory',
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_contradictions(words: tuple[str, ...], message: str) -> None:
    """Each is told by name."""
    with pytest.raises(SettingsError) as caught:
        parse(*words)
    assert message == str(caught.value)


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"x" * 9000])
def test_no_token(tmp_path: Path, content: bytes) -> None:
    """A file without a token is refused, and its content is not shown."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"token file .* (is empty|holds no token)"):
        parse("--compute-token-file", str(file))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "--listen", "x"], "invalid value for '--listen': \"x\" is not an address"),
        (["run", "--lisen", "x"], "no such option"),
        (["run", "--max-held", "0"], "invalid value for '--max-held'"),
        (["runn"], "no such command 'runn'"),
    ],
)
def test_usage(words: list[str], line: str, capsys: pytest.CaptureFixture[Any]) -> None:
    """A command line that cannot be used is exit status 2 and one line with a hint."""
    assert 2 == main(words)
    error, hint = capsys.readouterr().err.splitlines()
    assert error.lower().startswith(f"compute_control_plane: error: {line}"), error
    assert hint.startswith("hint: See compute_control_plane")


def test_no_command(capsys: pytest.CaptureFixture[Any]) -> None:
    """Without a command the commands are listed."""
    assert 2 == main([])
    out, err = capsys.readouterr()
    assert ("Usage: compute_control_plane ", "") == (
        out[: len("Usage: compute_control_plane ")],
        err,
    )
