"""The commands that work on files, without a daemon."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from compute_ctl.__main__ import main
from compute_ctl.decisions.persistent_state import GenerationRef, PersistentState

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


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A file with a good document."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def test_validate(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good document is said to be; a bad one is refused with field and reason."""
    assert 0 == main(["validate", str(document)])
    assert capsys.readouterr().out == f"{document}: valid\n"
    bad = json.loads(document.read_text())
    bad["spec"]["cluster"]["settings"][0]["value"] = "8\nMB"
    document.write_text(json.dumps(bad))
    assert 1 == main(["validate", str(document)])
    error = capsys.readouterr().err
    assert error.startswith(f"compute_ctl: error: {document}: spec.cluster.settings[0].value: ")
    assert 1 == main(["validate", "--json", str(document)])
    body = json.loads(capsys.readouterr().out)
    assert (False, "spec.cluster.settings[0].value") == (body["valid"], body["errors"][0]["path"])


def test_limits_of_the_daemon(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A document is valid for one daemon and too large for another."""
    large = json.loads(document.read_text())
    large["spec"]["cluster"]["roles"] = [{"name": f"r{number}"} for number in range(3)]
    document.write_text(json.dumps(large))
    assert 0 == main(["validate", str(document), "--max-roles", "3"])
    assert 1 == main(["validate", str(document), "--max-roles", "2"])
    assert "spec.cluster.roles: 3 roles exceed the limit of 2" in capsys.readouterr().err
    assert 1 == main(["render", str(document), "--max-roles", "2"])


def test_malformed_json_is_told_with_its_place(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, line and column, as an editor jumps to; `render` names the file too."""
    document.write_text('{\n  "spec": {\n    "a": 1,\n  }\n}\n')
    assert 1 == main(["validate", str(document)])
    expected = f"compute_ctl: error: {document}:4:3: not valid JSON: trailing comma in object\n"
    assert expected == capsys.readouterr().err
    assert 1 == main(["validate", "--json", str(document)])
    [error] = json.loads(capsys.readouterr().out)["errors"]
    assert (4, 3) == (error["line"], error["column"])
    assert 1 == main(["render", str(document)])
    expected = f"compute_ctl: error: {document}: line 4, column 3: not valid JSON: "
    assert capsys.readouterr().err.startswith(expected)


def test_render_and_diff(
    document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is rendered has no difference to itself, and one line's to a changed document."""
    assert 0 == main(["render", str(document), "--attach", "--internal-http-port", "4444"])
    text = capsys.readouterr().out
    assert "work_mem = '8MB'\n" in text
    assert "neon.extension_server_port = '4444'\n" in text
    live = tmp_path / "compute_ctl.conf"
    live.write_text(text.replace("/STATE_DIR", str(tmp_path / "compute_ctl")))
    words = ["diff", str(document), "-D", str(tmp_path), "--attach"]
    assert 0 == main(words)
    assert "" == capsys.readouterr().out
    live.write_text(live.read_text().replace("8MB", "4MB"))
    assert 1 == main(words)
    out = capsys.readouterr().out.splitlines()
    assert [
        "-work_mem = '4MB'",
        "+work_mem = '8MB'",
    ] == [line.rstrip() for line in out if line[:2] in ("-w", "+w")]


def test_diff_knows_the_privileged_role(
    document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A daemon that was given another role writes it; that is no difference."""
    assert 0 == main(["render", str(document)])
    usual = capsys.readouterr().out.replace("/STATE_DIR", str(tmp_path / "compute_ctl"))
    assert "neon.privileged_role_name = 'neon_superuser'\n" in usual
    (tmp_path / "postgresql.conf").write_text(usual.replace("neon_superuser", "my_superuser"))
    assert 0 == main(["diff", str(document), "-D", str(tmp_path)])
    assert "" == capsys.readouterr().out


def test_diff_of_what_runs(
    document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The generation proven last is compared with the file, and that with the document."""
    assert 0 == main(["render", str(document), "--attach"])
    rendered = capsys.readouterr().out.replace("/STATE_DIR", str(tmp_path / "compute_ctl"))
    kept = tmp_path / "compute_ctl" / "g"
    kept.mkdir(parents=True)
    (kept / "3.json").write_text("{}")
    (kept / "3.conf").write_text(rendered.replace("8MB", "4MB"))
    applied = GenerationRef(generation=3, marker="3", content_sha256="", at=datetime.now(UTC))
    (tmp_path / "compute_ctl" / "state.json").write_bytes(
        msgspec.json.encode(PersistentState(applied=applied))
    )
    live = tmp_path / "compute_ctl.conf"
    live.write_text(rendered.replace("8MB", "6MB"))
    words = ["diff", "-D", str(tmp_path), "--json"]
    assert 1 == main(words)
    [one] = json.loads(capsys.readouterr().out)
    assert (one["from"], one["to"]) == ("running (generation 3)", str(live))
    assert 1 == main([*words, str(document)])
    pairs = json.loads(capsys.readouterr().out)
    changed = [[line for line in one["diff"].splitlines() if "work_mem" in line] for one in pairs]
    assert [
        ["-work_mem = '4MB'", "+work_mem = '6MB'"],
        ["-work_mem = '6MB'", "+work_mem = '8MB'"],
    ] == changed
    live.write_text(rendered)
    (kept / "3.conf").write_text(rendered)
    assert 0 == main([*words, str(document)])


def test_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Past attempts are shown from the state folder, without a daemon."""
    assert 1 == main(["history", "-D", str(tmp_path)])
    assert "no daemon has used" in capsys.readouterr().err
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
    assert 0 == main(["history", "-D", str(tmp_path)])
    shown = capsys.readouterr().out.split("\n")[1].split()
    assert ["2026-01-02", "03:04:05", "3", "operator", "applied", "2", "12.3", "ms"] == shown
    assert 0 == main(["history", "-D", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out) == [entry]
