"""What is deployed beside the daemon names only what the daemon has."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from compute_ctl.__main__ import main
from compute_ctl.cli.run import parse
from compute_ctl.decisions.lsn_lease import LeaseStatus
from compute_ctl.decisions.model import (
    AckAnswer,
    Attempt,
    CatalogKind,
    CatalogRun,
    Outcome,
    RequestOrigin,
)
from compute_ctl.decisions.transitions import Status
from compute_ctl.monitoring.metrics import Metrics
from compute_ctl.settings import Deadlines
from control_plane.cli.run import read_settings
from control_plane.cli.run import run as control_plane_run
from control_plane.settings import DEFAULT_STORE
from tests.unit import deployed
from tests.unit.deployed import DEPLOY, ROOT, Exposed, alert_expressions, panel_expressions, samples
from tests.unit.snapshots import having

RULES = DEPLOY / "prometheus/compute_ctl.rules.yml"
DASHBOARD = DEPLOY / "grafana/compute_ctl.json"
CONTROL_PLANE_UNIT = DEPLOY / "systemd" / "compute_control_plane.service"
UNITS = sorted((DEPLOY / "systemd").glob("compute_ctl*.service"))
EXAMPLES = sorted((DEPLOY / "examples").glob("*.json"))
NAME = re.compile(r"\b((?:compute_ctl|compute_pg|compute_installed|compute_audit|pg_cctl)_\w+)")
ALERTS = alert_expressions(RULES)
PANELS = panel_expressions(DASHBOARD)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
TIMES: dict[str, Any] = {"started_at": NOW, "finished_at": NOW, "duration_ms": 1.0}


def exposed() -> Exposed:
    """Every sample that the daemon can show: its labels and their values."""
    metrics = Metrics(instance_id="i", compute_id="c")
    for status in Status:
        metrics.on_move(Status.EMPTY, status, "")
    for source in RequestOrigin:
        metrics.on_refresh_request(source)
    for answer in AckAnswer:
        metrics.on_ack(answer)
    for outcome in Outcome:
        metrics.on_attempt(Attempt(number=1, who="test", outcome=outcome, **TIMES))
    metrics.neon.on_fetch("GetConfig", "200 OK")
    metrics.neon.on_extensions({("plpgsql", "1.0", True): 1})
    for kind in CatalogKind:
        for end in ("done", "failed", "skipped"):
            metrics.on_catalog(CatalogRun(kind=kind, outcome=end, failed_migration=1, **TIMES))
    metrics.on_http("loopback", 200)
    for reason in ("slow", "full"):
        metrics.on_dropped("loopback", reason)
    shown = having(tenant="t", timeline="u", postgres={"lease": LeaseStatus(lsn="0/1F00")})
    found = samples(metrics.exposition(shown, now=NOW).decode())
    found["compute_ctl_up"]["status"] = {status.kebab for status in Status}
    return found


def unknown(expression: str) -> Iterator[str]:
    """Yield what *expression* asks for and the daemon does not have."""
    return deployed.unknown(expression, exposed(), NAME)


@pytest.mark.parametrize(
    ("expression", "finding"),
    [
        ("compute_ctl_nothing > 0", "metric compute_ctl_nothing"),
        ('compute_ctl_up{status="bored"}', 'label status="bored"'),
        ('compute_ctl_up{mood="failed"}', 'label mood="failed"'),
        (
            'compute_ctl_refresh_attempts_total{outcome=~"applied|fine"}',
            'label outcome="fine"',
        ),
    ],
)
def test_wrong_names_are_found(expression: str, finding: str) -> None:
    """A metric, a label or a value that the daemon does not have is told."""
    assert [finding] == list(unknown(expression))


@pytest.mark.parametrize("alert", ALERTS)
def test_alerts_ask_for_what_there_is(alert: str) -> None:
    """Each alert rests on metrics, labels and values that the daemon exposes."""
    assert [] == list(unknown(ALERTS[alert]))


@pytest.mark.parametrize("title", PANELS)
def test_panels_ask_for_what_there_is(title: str) -> None:
    """Each panel shows metrics that the daemon exposes."""
    assert [] == list(unknown(PANELS[title]))


@pytest.mark.parametrize("alert", ALERTS)
def test_guide_says_what_to_do(alert: str) -> None:
    """The operating guide has an answer to each alert."""
    assert f"`{alert}`" in (ROOT / "docs/operations.md").read_text()


def test_alert_without_an_error_names_the_drift() -> None:
    """Servers that are overridden leave `error` empty: alert and guide send there as well."""
    rule = RULES.read_text().partition("- alert: ComputeCtlNotInSync")[2].partition("- alert")[0]
    guide = (ROOT / "docs/operations.md").read_text()
    [row] = [line for line in guide.splitlines() if line.startswith("| `ComputeCtlNotInSync`")]

    for text in (rule, row):
        assert "`error`" in text
        assert "`overridden by something else`" in text


def test_documented_metrics_are_those_exposed() -> None:
    """The table of metrics in the API's manual is complete, and has nothing else."""
    manual = (ROOT / "docs/http-api.md").read_text().partition("## Metrics")[2]
    cells = re.findall(r"^\| (`[^|]*`) \|", manual, re.MULTILINE)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    families = {re.sub("_(bucket|count|sum|created)$", "", name) for name in exposed()}
    totals = {name.removesuffix("_total") for name in families if name.endswith("_total")}

    assert families - totals == documented


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each example document is accepted."""
    assert 0 == main(["validate", str(example)])
    assert f"{example}: valid\n" == capsys.readouterr().out


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_run_the_daemon_with_flags_it_has(unit: Path) -> None:
    """ExecStart, with its variables filled in, is a command line that can be used."""
    text = unit.read_text().replace("\\\n", " ")
    variables = dict(re.findall(r'^Environment="?(\w+)=(.*?)"?$', text, re.MULTILINE))
    command = re.search(r"^ExecStart=\S+ run (.*)$", text, re.MULTILINE)
    assert command is not None
    options = variables["COMPUTE_CTL_OPTIONS"].strip('"').split()
    words = re.findall(r'"[^"]*"|\S+', command[1].replace("$COMPUTE_CTL_OPTIONS", ""))

    settings = parse([*(word.strip('"') for word in words), *options], variables).settings

    assert ("@" in unit.name) == settings.attach
    assert "/usr/lib/postgresql/15/bin/postgres" == settings.pgbin
    assert 0 == settings.external_http_port
    assert settings.config_path is not None


def test_unit_runs_the_control_plane_with_flags_it_has(tmp_path: Path) -> None:
    """Likewise, with credentials where systemd puts them."""
    text = CONTROL_PLANE_UNIT.read_text().replace("\\\n", " ")
    for name in re.findall(r"^LoadCredential=([^:]+):", text, re.MULTILINE):
        (tmp_path / name).write_text(f"content-of-{name}")
    command = re.search(r"^ExecStart=\S+ run (.*)$", text, re.MULTILINE)
    options = re.search(r'^Environment=CONTROL_PLANE_OPTIONS="(.*)"$', text, re.MULTILINE)
    assert command is not None
    assert options is not None
    line = command[1].replace("%d", str(tmp_path)).replace("$CONTROL_PLANE_OPTIONS", options[1])

    settings = read_settings(control_plane_run.make_context("run", line.split()).params, {})

    assert ("content-of-hook.token", "content-of-storage-controller.token", 3090) == (
        settings.hook_token,
        settings.storage_controller_token,
        settings.listen.port,
    )
    assert DEFAULT_STORE.parent.name in re.findall(r"^StateDirectory=(.*)$", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", [*UNITS, CONTROL_PLANE_UNIT], ids=lambda path: path.name)
def test_units_are_good_systemd(unit: Path, tmp_path: Path) -> None:
    """systemd knows every key and value."""
    program = tmp_path / "compute_ctl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / unit.name.replace("@", "@15-main")
    text = re.sub(
        "/opt/compute_ctl/bin/compute_(ctl|control_plane)", str(program), unit.read_text()
    )
    copy.write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", str(copy)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_guide_tells_the_deadline_of_an_attempt() -> None:
    """The number of the guide is the one that the daemon keeps."""
    deadlines = Deadlines()
    parts = (deadlines.fetch_total, deadlines.apply_total, deadlines.fallback)
    fetch, application, fallback = (f"{seconds:g}" for seconds in parts)
    sentence = (
        f"ends within {deadlines.attempt:g} s: {fetch} for the fetch, "
        f"{application} for the application, {fallback} for a fallback"
    )
    assert sentence in (ROOT / "docs" / "operations.md").read_text()
