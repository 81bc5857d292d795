"""The commands for people, as a shell and an operator see them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compute_ctl.__main__ import main
from devstack import fork_server


def test_the_daemon_imports_nothing_for_people() -> None:
    """Reading the daemon's command line loads neither click nor rich, nor what apply needs."""
    code = (
        "import sys; from compute_ctl.__main__ import main; main(['-D', '/nonexistent']);"
        "print(*{'click', 'rich', 'psycopg', 'jwt', 'aiohttp'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "" == done.stdout.strip()


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
    done = fork_server.run(
        [sys.executable, "-m", "compute_ctl"],
        env=environment,
        timeout=20,
    )
    assert 0 == done.returncode
    assert expected == {line.removeprefix("plain,") for line in done.stdout.split()}


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


@pytest.mark.parametrize("command", [["validate"], ["render"], ["diff", "-D", "/"]])
@pytest.mark.parametrize(
    ("file", "reason"),
    [("/no/such/file", "No such file or directory"), ("/", "Is a directory")],
)
def test_file_that_cannot_be_read(
    command: list[str], file: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that reads a document says which file it could not read, and why."""
    assert 2 == main([*command, file])
    assert capsys.readouterr().err == f'compute_ctl: error: could not read "{file}": {reason}\n'


def test_validate_needs_the_data_directory_it_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A document is not called valid for a server that is not there."""
    document = tmp_path / "config.json"
    document.write_text("{}")

    assert 2 == main(["validate", str(document), "-D", "/no/such/folder"])

    error = 'compute_ctl: error: data directory "/no/such/folder" does not exist\n'
    assert capsys.readouterr().err.startswith(error)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("status", 3),
        ("refresh", 3),
        ("rollback", 3),
        ("explain work_mem", 3),
        ("diff", 2),
        ("history", 2),
    ],
)
@pytest.mark.parametrize(
    ("folder", "said"), [("/no/such/folder", "does not exist"), (__file__, "is not a directory")]
)
def test_a_missing_data_directory_is_called_that(
    words: str, status: int, folder: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error in -D is told as such, not as a daemon or a file that is missing."""
    assert status == main([*words.split(), "-D", folder])
    error, hint = capsys.readouterr().err.splitlines()
    assert f'compute_ctl: error: data directory "{folder}" {said}' == error
    assert "hint: Is -D (or $PGDATA) right?" == hint


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--atach", "-D", "/d"], "--attach"),
        (["-D", "/d", "--conig=x"], "--config"),
        (["statsu"], "status"),
        (["status", "--jsn"], "--json"),
        (["refresh", "--wiat"], "--wait"),
    ],
)
def test_a_misspelt_word_is_told_with_the_one_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flags of the daemon, commands, and the options of commands."""
    assert 2 == main(words)
    assert re.search(rf"Did you mean '?{meant}\b", capsys.readouterr().err)


def test_the_overview_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """What each command does is told without being cut."""
    assert 0 == main(["--help"])
    out = capsys.readouterr().out
    assert "..." not in out.partition("Commands:")[2]
    assert "refresh " in out


@pytest.mark.parametrize(
    ("words", "where"),
    [(["status", "--jsn"], "compute_ctl status"), (["statsu"], "compute_ctl")],
)
def test_the_hint_names_the_help_that_helps(
    words: list[str], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that a command does not know is explained by that command's help."""
    assert 2 == main(words)
    assert capsys.readouterr().err.endswith(f"\nhint: See {where} --help.\n")


def test_flags_with_an_effect_are_not_listed_as_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The lakebase mode changes ports and role."""
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    _, _, tail = capsys.readouterr().out.partition("without effect:\n")
    ignored, _, others = tail.partition("\n\n")
    assert "--lakebase-mode" not in ignored
    assert "--lakebase-mode true|false" in others
