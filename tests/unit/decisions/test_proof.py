"""Bad, waiting, shadowed and broken elsewhere are told apart, and nothing is believed too early."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from compute_ctl.decisions.proof import (
    Ack,
    Complaint,
    FileSetting,
    PendingRestart,
    Proof,
    SqlReport,
    Verdict,
    judge,
)
from compute_ctl.decisions.running import Running
from compute_ctl.document.generation import MARKER_SETTING

OURS, MAIN, AUTO = "/d/compute_ctl.conf", "/d/postgresql.conf", "/d/postgresql.auto.conf"
MARKER = f"7.{'ab' * 16}.{'cd' * 32}"
SWAPPED = datetime(2026, 1, 1, tzinfo=UTC)
LATER, EARLIER = SWAPPED + timedelta(seconds=1), SWAPPED - timedelta(seconds=1)
NAMES = frozenset({"work_mem", "max_connections", "neon.pageserver_connstring", MARKER_SETTING})
ACK, OTHER_MAP = Ack(map_matches=True), Ack(map_matches=False)
NOT_APPLIED = "setting could not be applied"


def row(
    name: str | None,
    value: str | None = "v",
    *,
    file: str = OURS,
    line: int = 1,
    applied: bool = True,
    error: str | None = None,
) -> FileSetting:
    """Return a row of pg_file_settings."""
    return FileSetting(
        file=file, line=line, name=name, value=value, applied=applied and not error, error=error
    )


UNREAD_MARKER = row(MARKER_SETTING, MARKER, line=9, applied=False)
READ_MARKER = row(MARKER_SETTING, MARKER, line=9)
BAD_MEM = row("Work_Mem", "x", line=3, error=NOT_APPLIED)
NOTICE = 'invalid value for parameter "work_mem": "x"'


def report(
    *rows: FileSetting,
    loaded: datetime = LATER,
    marker: str | None = MARKER,
    library: bool = True,
    pending: tuple[PendingRestart, ...] = (),
) -> SqlReport:
    """Return what one session saw: these lines, then our marker."""
    return SqlReport(
        conf_load_time=loaded,
        marker=marker,
        library_loaded=library,
        settings=(*rows, READ_MARKER),
        pending_restart=pending,
        notices=("something else", NOTICE),
    )


def unread(*rows: FileSetting) -> SqlReport:
    """Return what a session sees where Postgres refuses all files."""
    found = report(marker="1.old", loaded=EARLIER)
    return SqlReport(
        conf_load_time=found.conf_load_time,
        marker=found.marker,
        library_loaded=True,
        settings=(*rows, UNREAD_MARKER),
        pending_restart=(),
    )


def judged(found: SqlReport | None, ack: Ack | None = None, our_file: str = OURS) -> Verdict:
    """Judge with this module's file, marker and names."""
    return judge(found, ack, our_file=our_file, marker=MARKER, swapped_at=SWAPPED, names=NAMES)


@pytest.mark.parametrize(
    ("found", "ack", "proof"),
    [
        # no SQL
        (None, None, Proof.NONE),
        (None, ACK, Proof.UPSTREAM),
        (None, OTHER_MAP, Proof.NONE),
        # with the worker
        (report(), ACK, Proof.FULL),
        (report(), OTHER_MAP, Proof.NONE),
        (report(loaded=EARLIER), ACK, Proof.FULL),
        (report(loaded=EARLIER, marker="1.old"), ACK, Proof.UPSTREAM),
        # without
        (report(), None, Proof.FULL),
        (report(library=False, marker=None), None, Proof.FULL),
        (report(library=False, marker="anybody's"), None, Proof.FULL),
        (report(loaded=SWAPPED), None, Proof.NONE),
        (report(loaded=EARLIER, library=False), None, Proof.NONE),
        (report(marker="1.old"), None, Proof.NONE),
    ],
)
def test_proof(found: SqlReport | None, ack: Ack | None, proof: Proof) -> None:
    """Silence proves nothing, the worker the upstream part, and SQL beside it the rest."""
    assert judged(found, ack) == Verdict(proof=proof)


def test_file_that_is_not_included_proves_nothing() -> None:
    """A newer load time is no proof where the server does not read our file: that is said."""
    found = report(library=False)
    without = SqlReport(
        conf_load_time=found.conf_load_time,
        marker=MARKER,
        library_loaded=False,
        settings=(row("port", file=MAIN),),
        pending_restart=(),
    )

    reason = f"no configuration file includes {OURS}"
    complaint = Complaint(name="include_if_exists", reason=reason)
    assert judged(without) == Verdict(proof=Proof.NONE, shadowed=(complaint,), lost=True)


@pytest.mark.parametrize(
    ("fixed", "lost"),
    [("elsewhere", True), ("host=a", False)],
)
def test_command_line_beats_every_file(fixed: str, lost: bool) -> None:
    """The server's view of its files does not know its command line; what it fixes is drift."""
    ours = row("neon.pageserver_connstring", "host=a")
    found = replace(
        report(ours, row("work_mem")),
        command_line={"neon.pageserver_connstring": fixed, "port": "1"},
    )
    reason = "overridden by the server's command line (-c, pg_ctl -o)"
    shadowed = (Complaint(name="neon.pageserver_connstring", reason=reason),)

    proof = Proof.NONE if lost else Proof.FULL
    assert judged(found) == Verdict(proof=proof, shadowed=shadowed, lost=lost)


def test_bad_value() -> None:
    """A line of ours in error that waits for nothing is evidence; the server's notice says why."""
    complaint = Complaint(name="Work_Mem", reason=NOTICE, file=OURS, line=3)

    assert judged(report(BAD_MEM)) == Verdict(proof=Proof.NONE, bad=(complaint,))
    assert judged(report(BAD_MEM), ACK) == Verdict(proof=Proof.UPSTREAM, bad=(complaint,))
    assert judged(report(BAD_MEM)).rejected


def test_bad_upstream_is_no_proof_of_it() -> None:
    """An acknowledged marker does not count where the list itself was refused."""
    bad = row("neon.pageserver_connstring", "x", error=NOT_APPLIED)

    assert judged(report(bad), ACK).proof is Proof.NONE


def test_waiting_for_a_restart_is_not_bad() -> None:
    """The view shows the same error; only pending_restart tells them apart."""
    waits = PendingRestart(name="max_connections", old="1", new="2", file=OURS, line=2)
    removed = PendingRestart(name="wal_level", old="a", new="b", file=None, line=None)
    foreign = PendingRestart(name="port", old="1", new="2", file=MAIN, line=5)

    verdict = judged(
        report(
            row("max_connections", "2", error=NOT_APPLIED),
            row(
                None,
                None,
                file="",
                error='parameter "wal_level" cannot be changed without restarting the server',
            ),
            row("port", "2", file=MAIN, error=NOT_APPLIED),
            pending=(waits, removed, foreign),
        )
    )

    assert verdict == Verdict(
        proof=Proof.FULL, pending_restart=(waits, removed, foreign), waits=True
    )


@pytest.mark.parametrize(
    ("name", "file", "waits"),
    [
        ("max_connections", MAIN, True),
        ("port", OURS, True),
        ("port", None, True),
        ("port", MAIN, False),
    ],
)
def test_waits(name: str, file: str | None, waits: bool) -> None:
    """Only what may have come from our file keeps the generation from being the good one."""
    pending = PendingRestart(name=name, old="1", new="2", file=file, line=1)

    assert judged(report(pending=(pending,))).waits is waits


def test_unknown_name_of_ours() -> None:
    """Postgres refuses the whole file: ours is bad, the lines beside it are not shadowed."""
    unknown = row("nosuch", line=4, error="unrecognized configuration parameter")

    verdict = judged(
        unread(row("work_mem", applied=False), unknown, row("work_mem", file=AUTO, applied=False))
    )

    reason = "unrecognized configuration parameter"
    assert verdict == Verdict(
        proof=Proof.NONE, bad=(Complaint(name="nosuch", reason=reason, file=OURS, line=4),)
    )


@pytest.mark.parametrize(
    "error",
    [
        row(None, None, file=MAIN, line=5, error="syntax error"),
        row("nosuch", file=MAIN, line=5, error="unrecognized configuration parameter"),
    ],
)
def test_broken_elsewhere(error: FileSetting) -> None:
    """An error outside our file that keeps Postgres from reading ours is not our fault."""
    verdict = judged(unread(error, row("work_mem", applied=False)))

    complaint = Complaint(name=error.name, reason=error.error or "", file=MAIN, line=5)
    assert verdict == Verdict(proof=Proof.NONE, blocked=(complaint,))
    assert not verdict.rejected


def test_broken_elsewhere_after_the_acknowledgement() -> None:
    """What was loaded before somebody broke another file is still in force."""
    error = row(None, None, file=MAIN, error="syntax error")

    assert judged(unread(error), ACK).proof is Proof.UPSTREAM


def test_bad_value_elsewhere_does_not_matter() -> None:
    """A foreign line that Postgres skips keeps nothing of ours from it."""
    assert judged(report(row("a", file=MAIN, error=NOT_APPLIED))) == Verdict(proof=Proof.FULL)


def test_shadowed() -> None:
    """A later file overrides a setting: drift, told with the place that wins."""
    verdict = judged(
        report(
            row("work_mem", "1MB", applied=False),
            row("work_mem", "2MB", file=AUTO, line=3),
        )
    )

    reason = f"overridden by {AUTO}:3"
    complaint = Complaint(name="work_mem", reason=reason, file=AUTO, line=3)
    assert verdict == Verdict(proof=Proof.FULL, shadowed=(complaint,))


@pytest.mark.parametrize(("value", "proof"), [("host=b", Proof.NONE), ("host=a", Proof.FULL)])
def test_shadowed_upstream_is_not_healed(value: str, proof: Proof) -> None:
    """Where ALTER SYSTEM keeps the old primary, the new one is not in force; an equal one is."""
    verdict = judged(
        report(
            row("primary_conninfo", "host=a", applied=False),
            row("primary_conninfo", value, file=AUTO),
            library=False,
        )
    )

    assert verdict.proof is proof
    assert [item.name for item in verdict.shadowed] == ["primary_conninfo"]
    assert verdict.lost is (proof is Proof.NONE)


def test_own_later_line_is_no_drift() -> None:
    """Of two lines in our own file the last counts, as meant."""
    verdict = judged(report(row("work_mem", "1", applied=False), row("work_mem", "2", line=2)))

    assert verdict == Verdict(proof=Proof.FULL)


def test_file_is_known_by_its_marker() -> None:
    """Postgres may name our file by another path, as through a link."""
    verdict = judged(report(BAD_MEM), our_file="/link/compute_ctl.conf")

    assert [item.name for item in verdict.bad] == ["Work_Mem"]


AUTO_LINE = f"{AUTO}:3"


def runs(**settings: Running) -> dict[str, Running]:
    """Return what a session runs with; underscores are for dots."""
    return {name.replace("__", "."): value for name, value in settings.items()}


def of_file(value: str, file: str = OURS) -> Running:
    """Return a setting that comes from a file."""
    return Running(value=value, source="configuration file", file=file, line=3)


def test_what_runs_counts_and_not_the_file() -> None:
    """ALTER SYSTEM RESET without a reload: the file is fine, the old primary is still followed."""
    ours = row("primary_conninfo", "host=a")
    found = replace(report(ours), running=runs(primary_conninfo=of_file("host=b", AUTO)))

    verdict = judged(found, ACK)

    reason = f"the server still runs with the value of {AUTO_LINE}"
    assert [("primary_conninfo", reason)] == [(one.name, one.reason) for one in verdict.shadowed]
    assert (Proof.UPSTREAM, True, True) == (verdict.proof, verdict.lost, verdict.stale)


def test_the_same_value_from_elsewhere_is_not_lost() -> None:
    """Who names the servers does not matter."""
    ours = row("primary_conninfo", "host=a")
    found = replace(report(ours), running=runs(primary_conninfo=of_file("host=a", AUTO)))

    assert Verdict(proof=Proof.FULL) == judged(found)


def test_alter_system_that_was_not_loaded_yet() -> None:
    """What only a reload would bring is told, but ours runs."""
    found = replace(
        report(
            row("primary_conninfo", "host=a", applied=False),
            row("primary_conninfo", "host=b", file=AUTO, line=3),
        ),
        running=runs(primary_conninfo=of_file("host=a")),
    )

    verdict = judged(found)

    assert (Proof.FULL, False) == (verdict.proof, verdict.lost)
    assert [f"overridden by {AUTO_LINE} from the next reload on"] == [
        one.reason for one in verdict.shadowed
    ]


@pytest.mark.parametrize("source", ["user", "database", "client", "session", "override"])
def test_what_a_role_has_set_is_no_drift(source: str) -> None:
    """ALTER ROLE, ALTER DATABASE and the session itself say nothing about the file."""
    found = replace(
        report(row("work_mem", "1MB")), running=runs(work_mem=Running(value="64", source=source))
    )

    assert Verdict(proof=Proof.FULL) == judged(found)


def test_a_rest_from_another_file_waits_for_a_reload() -> None:
    """A line that has left postgresql.auto.conf still runs."""
    found = replace(report(row("work_mem", "1MB")), running=runs(work_mem=of_file("64", AUTO)))

    verdict = judged(found)

    assert (Proof.FULL, False, True) == (verdict.proof, verdict.lost, verdict.stale)


def test_refused_sessions_are_evidence() -> None:
    """The servers are acknowledged, but nobody can log in: the rest is refused."""
    found = judge(
        None, ACK, our_file=OURS, marker=MARKER, swapped_at=SWAPPED, names=NAMES, lockout="no"
    )

    assert (Proof.UPSTREAM, True) == (found.proof, found.rejected)
    assert (Complaint(name=None, reason="no"),) == found.bad
