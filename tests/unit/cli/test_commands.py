"""The command line: what is read, what is refused, what needs no daemon."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from compute_ctl.__main__ import main
from compute_ctl.cli.checks import check
from compute_ctl.cli.run import UNUSED, RunOptions, parse
from compute_ctl.decisions.recovery import Fact, State
from compute_ctl.errors import SettingsError
from compute_ctl.settings import Settings

BASE = [
    "-D",
    "/data",
    "-C",
    "postgresql://cloud_admin@localhost/postgres",
    "-c",
    "/etc/config.json",
]

DOCUMENT = {
    "spec": {
        "format_version": 1.0,
        "suspend_timeout_seconds": -1,
        "cluster": {
            "roles": [],
            "databases": [],
            "settings": [{"name": "work_mem", "value": "8MB", "vartype": "string"}],
        },
    },
    "compute_ctl_config": {"jwks": {"keys": []}},
}


def read(*arguments: str, **environment: str) -> RunOptions:
    """Parse *arguments* after the base ones."""
    return parse([*BASE, *arguments], environment)


def refused(arguments: list[str], **environment: str) -> SettingsError:
    """The error that *arguments* end in."""
    with pytest.raises(SettingsError) as raised:
        parse(arguments, environment)
    return raised.value


def test_defaults() -> None:
    """Ports, intervals and binary are the reference's or the documented ones."""
    assert read().settings == Settings(
        pgdata=Path("/data"),
        connstr="postgresql://cloud_admin@localhost/postgres",
        compute_id="local",
        config_path=Path("/etc/config.json"),
    )


def test_flags_of_the_reference() -> None:
    """Long, short and `=` spellings mean what they mean there."""
    options = parse(
        [
            "--pgdata=/data",
            "--connstr",
            "postgresql://h/d",
            "-p",
            "http://cp:9898",
            "-i",
            "compute-1",
            "-b",
            "/pg/bin/postgres",
            "--external-http-port=13080",
            "--internal-http-port",
            "13081",
        ],
        {"NEON_CONTROL_PLANE_TOKEN": "t0"},
    )
    settings = options.settings
    assert settings.control_plane_uri == "http://cp:9898"
    assert settings.compute_id == "compute-1"
    assert settings.control_plane_token == "t0"
    assert (settings.external_http_port, settings.internal_http_port) == (13080, 13081)
    assert (settings.pgbin, options.pgbin_given) == ("/pg/bin/postgres", True)
    assert "t0" not in repr(options)


def test_flags_that_open_more() -> None:
    """What is safe by default is opened one by one."""
    usual, opened = (
        read().settings,
        read("--allow-tokens-without-exp", "--extensions-on-loopback").settings,
    )
    assert (usual.tokens_need_exp, usual.extensions_on_loopback) == (True, False)
    assert (opened.tokens_need_exp, opened.extensions_on_loopback) == (False, True)


def test_privileged_role() -> None:
    """The role that the others join can be named."""
    assert read().settings.privileged_role == "neon_superuser"
    assert read("--privileged-role-name", "mine").settings.privileged_role == "mine"


def test_flags_without_effect_are_named_once() -> None:
    """Everything the reference takes is taken; what means nothing here is told in one line."""
    arguments = []
    for names in UNUSED:
        arguments += [names[0], "x"]
    options = read(*arguments, "--dev", "--resize-swap-on-bind", "--lakebase-mode", "true")
    expected = (
        "these options have no effect here: --remote-ext-base-url, "
        "--cgroup, --filecache-connstr, --vm-monitor-addr, --set-disk-quota-for-fs, "
        "--installed-extensions-collection-interval, --pg-init-timeout, --resize-swap-on-bind, "
        "--dev"
    )
    assert options.warnings == (expected,)
    assert read().warnings == ()


def test_http_port() -> None:
    """`--http-port` sets both ports in lakebase mode only, as in the reference."""
    both = read("--http-port", "4000", "--lakebase-mode", "true")
    assert (both.settings.external_http_port, both.settings.internal_http_port) == (4000, 4001)
    ignored = read("--http-port", "4000")
    assert ignored.settings.internal_http_port == 3081
    assert ignored.warnings == ("these options have no effect here: --http-port",)
    error = refused([*BASE, "--http-port", "4000", "--internal-http-port", "1"])
    assert "--http-port excludes" in str(error)


def test_environment() -> None:
    """The environment stands in for flags that are missing, and a flag wins."""
    options = parse(BASE[2:], {"PGDATA": "/env", "POSTGRES_PATH": "/env/postgres"})
    assert options.settings.pgdata == Path("/env")
    assert options.settings.pgbin == "/env/postgres"
    assert read("-b", "/flag", POSTGRES_PATH="/env/postgres").settings.pgbin == "/flag"
    assert read(RUST_LOG="debug").settings.log_level == "debug"
    assert read(RUST_LOG="compute_tools=debug").settings.log_level == "info"
    assert "INSTANCE_ID" in read(INSTANCE_ID="x").warnings[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-C", "host=a", "-c", "f"], "option -D (data directory) is missing"),
        (["-D", "d", "-c", "f"], "option -C (connection string) is missing"),
        (["-D", "d", "-C", "host=a"], "no source of configuration"),
        ([*BASE, "-p", "http://x", "-i", "i"], "options -c and -p exclude each other"),
        (["-D", "d", "-C", "host=a", "-p", "http://x"], "option -p needs -i (compute id)"),
        ([*BASE, "--internal-http-port", "65536"], "is not between 0 and 65535"),
        ([*BASE, "--internal-http-port", "-1"], "is not between 0 and 65535"),
        ([*BASE, "--internal-http-port", "x"], "is not between 0 and 65535"),
        ([*BASE, "--reconcile-interval", "0"], "is no number of seconds"),
        ([*BASE, "--refresh-min-interval", "nan"], "is no number of seconds"),
        ([*BASE, "--lakebase-mode", "yes"], "is neither true nor false"),
        ([*BASE, "--privileged-role-name", "Bad"], "lower-case letters"),
        ([*BASE, "--log-format", "xml"], "invalid choice"),
        ([*BASE, "--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        ([*BASE, "surplus"], "unrecognized arguments: surplus"),
        ([*BASE, "--pg"], "unrecognized arguments: --pg"),
    ],
)
def test_bad_command_lines(arguments: list[str], message: str) -> None:
    """Each mistake is named in one line with a hint."""
    error = refused(arguments)
    assert message in str(error)
    assert "\n" not in str(error)
    assert error.hint


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
    """A port that somebody listens on is told before the state folder is made."""
    (tmp_path / "PG_VERSION").write_text("15\n")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        said = checked(tmp_path, "--attach", "--internal-http-port", port)
        outside = checked(tmp_path, "--attach", "--external-http-port", port)
    assert said == f"could not listen on 127.0.0.1:{port}: address already in use"
    assert outside == f"could not listen on 0.0.0.0:{port}: address already in use"
    assert checked(tmp_path, "--attach", "--internal-http-port", port) is None


@pytest.mark.parametrize("uri", ["cp:9898", "ftp://cp", "http://", "http://[::1"])
def test_control_plane_that_is_no_uri(tmp_path: Path, uri: str) -> None:
    """The control plane is reached by http or https."""
    (tmp_path / "PG_VERSION").write_text("15\n")
    words = ["-D", str(tmp_path), "-C", "host=/tmp", "-p", uri, "-i", "c", "--attach"]
    with pytest.raises(SettingsError, match="option -p is no http or https URI"):
        check(parse(words, {}))


def test_mistakes_end_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line `error`, one line `hint`, and the folder is as it was."""
    words = ["-D", str(tmp_path), "-C", "host=/tmp", "-c", "f", "--attach"]
    assert main(words) == 2
    assert main(["run", *words]) == 2
    error = f'compute_ctl: error: "{tmp_path}" is not a data directory: it has no PG_VERSION\n'
    assert capsys.readouterr().err.startswith(error + "hint: With --attach, ")
    assert list(tmp_path.iterdir()) == []


def test_the_daemon_imports_nothing_for_people() -> None:
    """Reading the daemon's command line loads neither click nor rich, nor what apply needs."""
    code = (
        "import sys; from compute_ctl.__main__ import main; main(['-D', '/nonexistent']);"
        "print(*{'click', 'rich', 'psycopg', 'jwt', 'aiohttp'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A file with a good document."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def test_validate(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good document is said to be; a bad one is refused with field and reason."""
    assert main(["validate", str(document)]) == 0
    assert capsys.readouterr().out == f"{document}: valid\n"
    bad = json.loads(document.read_text())
    bad["spec"]["cluster"]["settings"][0]["value"] = "8\nMB"
    document.write_text(json.dumps(bad))
    assert main(["validate", str(document)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"compute_ctl: error: {document}: spec.cluster.settings[0].value: ")
    assert main(["validate", "--json", str(document)]) == 1
    body = json.loads(capsys.readouterr().out)
    assert (body["valid"], body["errors"][0]["path"]) == (False, "spec.cluster.settings[0].value")


def test_render_and_diff(
    document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is rendered has no difference to itself, and one line's to a changed document."""
    assert main(["render", str(document), "--attach", "--internal-http-port", "4444"]) == 0
    text = capsys.readouterr().out
    assert "work_mem = '8MB'\n" in text
    live = tmp_path / "compute_ctl.conf"
    live.write_text(text.replace("/STATE_DIR", str(tmp_path / "compute_ctl")))
    words = ["diff", str(document), "-D", str(tmp_path), "--attach"]
    assert main(words) == 0
    assert capsys.readouterr().out == ""
    live.write_text(live.read_text().replace("8MB", "4MB"))
    assert main(words) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in out if line[:2] in ("-w", "+w")] == [
        "-work_mem = '4MB'",
        "+work_mem = '8MB'",
    ]


def test_diff_of_what_runs(
    document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The generation proven last is compared with the file, and that with the document."""
    assert main(["render", str(document), "--attach"]) == 0
    rendered = capsys.readouterr().out.replace("/STATE_DIR", str(tmp_path / "compute_ctl"))
    kept = tmp_path / "compute_ctl" / "g"
    kept.mkdir(parents=True)
    (kept / "3.json").write_text("{}")
    (kept / "3.conf").write_text(rendered.replace("8MB", "4MB"))
    applied = Fact(generation=3, marker="3", content_sha256="", at=datetime.now(UTC))
    (tmp_path / "compute_ctl" / "state.json").write_bytes(
        msgspec.json.encode(State(applied=applied))
    )
    live = tmp_path / "compute_ctl.conf"
    live.write_text(rendered.replace("8MB", "6MB"))
    words = ["diff", "-D", str(tmp_path), "--json"]
    assert main(words) == 1
    [one] = json.loads(capsys.readouterr().out)
    assert (one["from"], one["to"]) == ("running (generation 3)", str(live))
    assert main([*words, str(document)]) == 1
    pairs = json.loads(capsys.readouterr().out)
    changed = [[line for line in one["diff"].splitlines() if "work_mem" in line] for one in pairs]
    assert changed == [
        ["-work_mem = '4MB'", "+work_mem = '6MB'"],
        ["-work_mem = '6MB'", "+work_mem = '8MB'"],
    ]
    live.write_text(rendered)
    (kept / "3.conf").write_text(rendered)
    assert main([*words, str(document)]) == 0


@pytest.mark.parametrize(
    ("words", "cursor", "expected"),
    [
        ("compute_ctl ro", 1, {"rollback"}),
        ("compute_ctl status --w", 2, {"--watch"}),
        ("compute_ctl run --external", 2, {"--external-http-port"}),
    ],
)
def test_completion(words: str, cursor: int, expected: set[str]) -> None:
    """A shell is told commands, their options, and the flags of the daemon."""
    environment = {
        **os.environ,
        "_COMPUTE_CTL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(cursor),
    }
    done = subprocess.run(
        [sys.executable, "-m", "compute_ctl"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert expected == {line.removeprefix("plain,") for line in done.stdout.split()}


def test_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Past attempts are shown from the state folder, without a daemon."""
    assert main(["history", "-D", str(tmp_path)]) == 1
    state = tmp_path / "compute_ctl"
    state.mkdir()
    entry = {
        "number": 3,
        "who": "operator",
        "started_at": "2026-01-02T03:04:05Z",
        "outcome": "applied",
        "generation": 2,
        "duration_ms": 12.34,
        "reason": "",
    }
    (state / "history.jsonl").write_text(json.dumps(entry) + "\n")
    capsys.readouterr()
    assert main(["history", "-D", str(tmp_path)]) == 0
    shown = capsys.readouterr().out.split("\n")[1].split()
    assert shown == ["2026-01-02", "03:04:05", "3", "operator", "applied", "2", "12.3", "ms", "-"]
    assert main(["history", "-D", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [entry]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 2),
        (["--help"], 0),
        (["--version"], 0),
        (["refresh", "--help"], 0),
        (["nonsense"], 2),
        (["status", "--nonsense"], 2),
        (["refresh", "--wait", "x"], 2),
        (["validate", "/no/such/file"], 2),
        (["status", "-D", "/no/such/folder"], 3),
        (["refresh", "--force"], 3),
    ],
)
def test_exit_status(
    words: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each way to fail has its number, and a line on stderr in our form."""
    monkeypatch.delenv("PGDATA", raising=False)
    assert main(words) == status
    error = capsys.readouterr().err
    assert error.startswith("compute_ctl: error: ") == (status > 0 and bool(words))
    assert "Traceback" not in error
