"""Each benchmark runs from end to end, with a round or two."""

import json
from pathlib import Path
from typing import Any

import pytest

from devstack import patroni
from tests.support.in_process import run_main

pytestmark = pytest.mark.timeout(300)  # on a machine that is busy with other tests


def run(name: str, *arguments: str) -> str:
    """Run a benchmark; what it printed."""
    return run_main(f"bench.{name}", *arguments)


def results(file: Path) -> dict[str, Any]:
    """What a benchmark has saved."""
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the results go."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def heal(folder: Path) -> Path:
    """The results of one round of each case."""
    file = folder / "heal.json"
    run("heal", "--rounds=1", "--late=0.1", "--reference-rounds=0", f"--json={file}")
    return file


@pytest.fixture(scope="module")
def herd(folder: Path) -> Path:
    """The results of a small herd."""
    file, late = folder / "herd.json", ("0", "0.1")
    sizes = ("--backends=3", "--shards=2", "--rounds=1")
    run("herd", *sizes, "--late", *late, f"--json={file}")
    return file


def test_heal(heal: Path) -> None:
    """Every case heals once, beside the floor."""
    found = results(heal)

    assert 7 == len(found["cases"])
    assert {1} == {row["rounds"] for table in ("floor", "cases", "late") for row in found[table]}
    assert 14 == len(found["goals"])


def test_herd(herd: Path) -> None:
    """Three backends on two shards are served; at most one request a shard reaches the daemon."""
    at_once, late = results(herd)["herd"]

    assert 1 <= at_once["fetches"] <= at_once["requests"] <= 2
    assert late["last served after, ms"] > 0
    in_a_row, refused, twice = results(herd)["trouble"]
    assert 1 <= refused["requests"] <= 6
    assert 1 <= twice["requests"] <= 12
    assert 1 <= in_a_row["requests"] <= 4


def test_plots(folder: Path, heal: Path, herd: Path) -> None:
    """What those have saved is drawn."""
    run("plots", f"--from={folder}", f"--to={folder}")

    assert "one of eight shards" in heal.with_suffix(".svg").read_text()
    assert "plain clients" in herd.with_suffix(".svg").read_text()


def test_daemon(folder: Path) -> None:
    """Daemon and bare server answer all requests; without Patroni the reason is told."""
    file = folder / "daemon.json"
    text = run("daemon", "--requests=128", "--starts=1", "--changes=1", f"--json={file}")
    found = results(file)

    assert [None, None, 128, 128, 128, 128] == [row["requests"] for row in found["servers"]]
    assert [1, 1, 1, 1, 1] == [row["rounds"] for row in found["changes"]]
    assert "Patroni skipped: not asked for" in text


def test_start(folder: Path) -> None:
    """A start from nothing is taken apart, and a large backup needs no more memory."""
    file = folder / "start.json"
    run("start", "--rounds=1", "--megabytes=25", f"--json={file}")
    found = results(file)

    assert 5 == len(found["start"])
    memory = {row["base backup"]: row["peak of the daemon MB"] for row in found["memory"]}
    assert 10 > memory["large"] - memory["small"]


def test_control_plane(folder: Path) -> None:
    """A third of the computes gets its new document, and the hook is answered when all have.

    There are so many requests that the reports of a compute would be refused if they came at once.
    """
    file = folder / "control_plane.json"
    sizes = ("--computes=252", "--moves=2", "--starts=1", "--requests=2496")
    run("control_plane", *sizes, f"--json={file}")
    found = results(file)

    assert [("84 computes", 200)] * 2 == [(row["move"], row["hook"]) for row in found["moves"]]
    assert [2496, 2496] == [row["number"] for row in found["rates"]]
    assert 7 == len(found["goals"])


def test_cost(folder: Path) -> None:
    """Selects and pages are compared, or it is told what is missing for that."""
    file = folder / "cost.json"
    run("cost", "--pairs=1", "--selects=200", "--pages=20", f"--json={file}")
    found = results(file)["rows"]

    assert any(row.startswith("pages") or "skipped" in found[row] for row in found)


def test_outage(folder: Path) -> None:
    """Each outage ends in a page from another node; who is not told takes a verdict."""
    file = folder / "outage.json"
    run("outage", "--parts", "warm", "--rounds=1", "--suspect-after=0.5", f"--json={file}")
    rows = {row["case"]: row for row in results(file)["warm"]}

    assert {"killed, warm": 1, "killed, warm, by hand": 0, "stopped, warm": 1} == {
        name: row["verdicts"] for name, row in rows.items()
    }
    assert {1} == {row["rounds"] for row in rows.values()}


@pytest.mark.skipif(bool(patroni.missing()), reason="needs etcd-server and patroni of Debian")
def test_follow(folder: Path) -> None:
    """Each standby follows once in each case."""
    file = folder / "follow.json"
    run("follow", "--rounds=1", "--retry", "200ms", f"--json={file}")
    found = results(file)

    assert [1] * 8 == [row["rounds"] for row in found["follow_200ms"]]
    assert 4 == len(found["goals"])
