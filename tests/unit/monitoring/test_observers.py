"""What history and systemd are told."""

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import structs

from compute_common.system.sd_notify import Notifier
from compute_ctl.decisions.model import Attempt, CatalogKind, CatalogRun, Outcome
from compute_ctl.decisions.transitions import Status
from compute_ctl.monitoring.observers import History, SystemdStatus

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ATTEMPT = Attempt(
    number=1,
    who="operator",
    started_at=NOW,
    finished_at=NOW,
    duration_ms=1.0,
    outcome=Outcome.FETCH_FAILED,
    reason="nobody there",
)


def test_history_leaves_out_repetitions() -> None:
    """The same failure again is no news; another reason is, and so is every success."""
    kept: list[dict[str, Any]] = []
    history = History(kept.append)
    applied = structs.replace(ATTEMPT, outcome=Outcome.APPLIED, reason="")
    for attempt in (ATTEMPT, ATTEMPT, structs.replace(ATTEMPT, reason="other"), applied, applied):
        history.on_attempt(attempt)

    assert [
        ("fetch_failed", "nobody there"),
        ("fetch_failed", "other"),
        ("applied", ""),
        ("applied", ""),
    ] == [(entry["outcome"], entry["reason"]) for entry in kept]


def test_history_has_work_on_the_catalog() -> None:
    """What was done, when, how long it took and how it ended; the same failure once."""
    kept: list[dict[str, Any]] = []
    history = History(kept.append)
    failed = CatalogRun(
        kind=CatalogKind.MIGRATIONS,
        started_at=NOW,
        finished_at=NOW,
        duration_ms=2.5,
        outcome="failed",
        reason="migration 4",
        failed_migration=4,
    )
    done = structs.replace(failed, outcome="done", reason="", statements=9, failed_migration=None)
    for run in (failed, failed, done):
        history.on_catalog(run)

    assert [
        ("migrations", "failed", 0),
        ("migrations", "done", 9),
    ] == [(one["kind"], one["outcome"], one["statements"]) for one in kept]
    assert ("2026-01-02T00:00:00Z", 2.5) == (kept[0]["started_at"], kept[0]["duration_ms"])


def test_systemd_hears_of_a_change_and_of_its_end(tmp_path: Path) -> None:
    """RELOADING with the time while a configuration is changed, READY afterwards, and the text."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(5)
        status = SystemdStatus(Notifier(str(address)))

        status.on_move(Status.REFRESH_CONFIGURATION_PENDING, Status.REFRESH_CONFIGURATION, "")
        status.on_move(Status.REFRESH_CONFIGURATION, Status.RUNNING, "password=x")

        told = [systemd.recv(200).decode() for _ in range(4)]
    assert told[0].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert [
        "STATUS=refresh-configuration",
        "READY=1",
        "STATUS=running: password=********",
    ] == told[1:]
