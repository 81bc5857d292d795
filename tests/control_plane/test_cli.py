"""The command line against a real control plane."""

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.__main__ import main
from control_plane.cli.client import SOCKET_VARIABLE, URL_VARIABLE
from control_plane.cli.exit_codes import TOKEN_VARIABLE
from devstack.compute_control_plane import ComputeControlPlane
from devstack.installation import free_port
from devstack.wait import wait_until
from tests.control_plane.conftest import ControlPlaneFactory

ADMIN_TOKEN = "token-of-the-operator"
SECRET = "hunter2-hunter2"
DOCUMENT = json.dumps(
    {
        "spec": {
            "cluster": {"settings": [{"name": "primary_conninfo", "value": f"password={SECRET}"}]}
        }
    }
)


class Cli:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        self._capsys.readouterr()
        code = main(words)
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *words: str) -> Any:
        """The JSON that a command prints, which must succeed."""
        code, out, err = self(*words, "--json")
        assert (0, "") == (code, err)
        return json.loads(out)


@pytest.fixture
def plane(
    make_control_plane: ControlPlaneFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[ComputeControlPlane]:
    """A control plane without a storage controller, the default target of commands."""
    token = tmp_path / "admin.token"
    token.write_text(ADMIN_TOKEN)
    port = free_port()
    extra = ("--admin-listen", f"127.0.0.1:{port}", "--admin-token-file", str(token))
    made = make_control_plane(extra=extra)
    monkeypatch.setenv(SOCKET_VARIABLE, str(made.socket))
    monkeypatch.setenv("URL_OF_ADMIN", f"http://127.0.0.1:{port}")
    for name in (TOKEN_VARIABLE, URL_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    with made:
        yield made


@pytest.fixture
def cli(plane: ComputeControlPlane, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, in this process."""
    return Cli(capsys)


def test_a_compute_from_first_document_to_last(cli: Cli, tmp_path: Path) -> None:
    """Put, look, change, look back, delete; no secret is shown unless it is asked for."""
    file = tmp_path / "document.json"
    file.write_text(DOCUMENT)

    dry = cli("put", "db1", str(file), "--dry-run")
    nobody = cli.json("computes")
    put = cli("put", "db1", str(file))
    again = cli("put", "db1", str(file))
    changed = cli("set", "db1", "work_mem=8MB", "a.b=c=d")
    less = cli("set", "db1", "--remove", "a.b")
    listed, shown, history = cli("computes"), cli("show", "db1"), cli("history")
    document = cli("show", "db1", "--document")
    deleted = cli("delete", "db1", "--yes")

    assert 0 == dry[0]
    assert "db1: would be published as generation 1" in dry[1]
    assert 0 == nobody["total"]
    assert (0, "db1: published as generation 1") == (put[0], put[1].splitlines()[-1])
    assert (0, "db1: unchanged, generation 1\n") == again[:2]
    assert "spec.cluster.settings[a.b]: (none) -> c=d\n" in changed[1]
    assert "db1: published as generation 2\n" in changed[1]
    assert "spec.cluster.settings[a.b]: c=d -> (none)\n" in less[1]
    assert "db1" in listed[1]
    assert "generation 3" in shown[1]
    assert "generation 2" in history[1]
    assert (0, "db1: deleted") == (deleted[0], deleted[1].splitlines()[-1])
    assert SECRET in document[1]
    for _, out, err in (dry, put, changed, listed, shown, history, deleted):
        assert SECRET not in out + err


def test_what_was_given_along_is_taken_back(
    cli: Cli, plane: ComputeControlPlane, tmp_path: Path
) -> None:
    """The token of a compute and its push address, without deleting it."""
    token = tmp_path / "own.token"
    token.write_text("token-of-its-own")
    cli("set", "a", "work_mem=8MB", "--create", "--token-file", str(token))
    refused = plane.spec("a").code
    taken = cli("set", "a", "--no-token")
    pushed = cli("set", "a", "--push-url", "http://127.0.0.1:9")
    url = cli.json("show", "a")["push_url"]
    back = cli("set", "a", "--no-push-url")
    assert (403, 0) == (refused, taken[0])
    wait_until("the document", lambda: plane.spec("a").code == 200)
    assert (0, "http://127.0.0.1:9") == (pushed[0], url)
    assert (0, None) == (back[0], cli.json("show", "a")["push_url"])
    both = cli("set", "a", "--no-token", "--token-file", str(token))
    assert (1, True) == (both[0], '"token" is given and to be removed' in both[2])


def test_laggards_are_shown_with_their_reason(cli: Cli, plane: ComputeControlPlane) -> None:
    """As the page has them."""
    cli("set", "a", "work_mem=8MB", "--create")
    cli("set", "b", "work_mem=8MB", "--create")
    wanted = plane.admin("GET", "/v1/computes/b").body["content_sha256"]
    said = {"outcome": "rejected", "reason": "no such setting", "desired": {"hash": wanted}}
    assert 200 == plane.report("b", said).code

    first = cli.json("computes", "--limit", "1")
    status = cli.json("status")

    assert (2, "b", "refused") == (
        first["total"],
        first["computes"][0]["id"],
        first["computes"][0]["condition"],
    )
    assert 1 == status["behind"]
    assert "refuses generation 1: no such setting" in cli("show", "b")[1]
    assert ["b"] == [
        one["id"] for one in cli.json("computes", "--condition", "refused")["computes"]
    ]


def test_every_read_prints_a_table_and_json(cli: Cli) -> None:
    """Exit status 0, nothing on stderr, JSON that is JSON."""
    cli("set", "a", "work_mem=8MB", "--create")
    for words in (["status"], ["computes"], ["show", "a"], ["nodes"], ["verdicts"], ["history"]):
        code, out, err = cli(*words)
        assert (0, "") == (code, err), words
        assert out
        assert "at" in cli.json(*words)


def test_a_document_from_standard_input(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hyphen names it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DOCUMENT.encode())))

    assert 0 == cli("put", "db1", "-")[0]


def test_tcp_needs_the_token(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment; without it, or with another, exit status 4 and a hint."""
    url = os.environ["URL_OF_ADMIN"]

    without = cli("status", "--url", url)
    monkeypatch.setenv(TOKEN_VARIABLE, "wrong")
    wrong = cli("status", "--url", url)
    monkeypatch.setenv(TOKEN_VARIABLE, ADMIN_TOKEN)
    right = cli("status", "--url", url)

    assert (4, 4, 0) == (without[0], wrong[0], right[0])
    for _, _, err in (without, wrong):
        assert f"hint: Put the token of --admin-token-file into {TOKEN_VARIABLE}." in err


FAILURES: tuple[tuple[int, str, tuple[str, ...]], ...] = (
    (1, 'unknown compute "none"', ("show", "none")),
    (1, 'unknown compute "none"', ("delete", "none", "--yes")),
    (1, "invalid compute ID", ("set", "a b", "x=1", "--create")),
    (1, "there is no storage controller to compare with", ("reconcile",)),
    (1, "not valid JSON", ("put", "db1", __file__)),
    (2, "could not read", ("put", "db1", "/nonexistent")),
    (1, 'unknown compute "typo"', ("set", "typo", "x=1")),
    (2, "--yes is missing, and nobody can be asked", ("delete", "db1")),
    (2, "is not NAME=VALUE", ("set", "db1", "x")),
    (2, "name at least one setting", ("set", "db1")),
    (2, "no such command", ("nothing",)),
    (2, "is not an address", ("status", "--url", "ftp://x")),
    (3, "could not reach the control plane", ("status", "--socket", "/nonexistent")),
    (3, "could not reach the control plane", ("status", "--url", "http://127.0.0.1:1")),
)


def test_failures_have_their_exit_status(cli: Cli) -> None:
    """One line in PostgreSQL's style, nothing on stdout."""
    for code, message, words in FAILURES:
        found, out, err = cli(*words)

        assert (code, "") == (found, out), words
        assert err.startswith("compute_control_plane: error: "), words
        assert message in err, words


def test_a_stranger_at_the_address_is_told(cli: Cli, plane: ComputeControlPlane) -> None:
    """The public port answers JSON, but serves no admin API there."""
    code, _, err = cli("status", "--url", plane.base_url)

    assert 4 == code
    assert "/v1/status is served on the admin port and the admin socket" in err


def test_watch_shows_changes_until_interrupted(plane: ComputeControlPlane) -> None:
    """JSON by the line, for programs."""
    argv = [sys.executable, "-m", "control_plane", "computes", "--json", "--watch"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert 0 == main(["set", "new", "work_mem=8MB", "--create"])
        found: list[int] = [first["total"]]
        deadline = time.monotonic() + 20
        while found[-1] == 0 and time.monotonic() < deadline:
            found.append(json.loads(process.stdout.readline())["total"])
        process.send_signal(signal.SIGINT)
        process.wait(10)

    assert (0, 1) == (found[0], found[-1])
    assert 1 == process.returncode


def test_a_command_starts_quickly(plane: ComputeControlPlane) -> None:
    """Neither the server's parts nor rich are loaded by a command that prints JSON."""
    code = (
        "import sys; from control_plane.__main__ import main; main(['status', '--json']);"
        "print([one for one in ('aiohttp', 'asyncio', 'rich.table', 'cryptography')"
        " if one in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )

    assert "[]\n" == done.stderr


def test_a_killed_control_plane_is_unreachable(cli: Cli, plane: ComputeControlPlane) -> None:
    """Exit status 3, and it works again after the restart, with what was put."""
    cli("set", "a", "work_mem=8MB", "--create")
    plane.kill()
    assert 3 == cli("status")[0]

    plane.start()

    wait_until("the compute to be there", lambda: cli.json("computes")["total"] == 1)


def test_the_page_has_a_port_of_its_own(make_control_plane: ControlPlaneFactory) -> None:
    """It shows the fleet to anybody, and serves nothing else: no document, no change."""
    port = free_port()
    with make_control_plane(extra=("--page-listen", f"127.0.0.1:{port}")) as plane:
        plane.put("db1", json.loads(DOCUMENT))

        def ask(method: str, path: str) -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

        pages = [ask("GET", "/"), ask("GET", "/computes/db1")]
        others = [
            ask("GET", "/v1/computes/db1/document"),
            ask("DELETE", "/v1/computes/db1"),
            ask("GET", "/compute/api/v2/computes/db1/spec"),
        ]

        assert [200, 200] == [code for code, _ in pages]
        assert all("db1" in text and SECRET not in text for _, text in pages)
        assert [403, 403, 403] == [code for code, _ in others]
        assert all(SECRET not in text for _, text in others)
