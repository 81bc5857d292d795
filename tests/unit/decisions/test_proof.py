"""Bad, waiting, shadowed and broken elsewhere are told apart, and nothing is believed too early."""

from dataclasses import replace

import pytest

from compute_ctl.decisions.proof import Ack, Complaint, Included, Proof, Verdict, judge
from compute_ctl.decisions.sql_report import FileSetting, PendingRestart, SqlReport
from tests.unit.decisions.reports import (
    ACK,
    AUTO,
    BAD_MEM,
    EARLIER,
    MAIN,
    MARKER,
    NAMES,
    NOT_APPLIED,
    NOTICE,
    OTHER_MAP,
    OURS,
    SWAPPED,
    judged,
    report,
    row,
    unread,
)


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


def test_refused_sessions_are_evidence() -> None:
    """The servers are acknowledged, but nobody can log in: the rest is refused."""
    found = judge(
        None, ACK, our_file=OURS, marker=MARKER, swapped_at=SWAPPED, names=NAMES, lockout="no"
    )

    assert (Proof.UPSTREAM, True) == (found.proof, found.rejected)
    assert (Complaint(name=None, reason="no"),) == found.bad


@pytest.mark.parametrize("included", ["/etc/mine.conf", "/etc"])
@pytest.mark.parametrize("new", [True, False])
def test_an_included_file_in_error(included: str, new: bool) -> None:
    """It is evidence against the generation that includes it first, and drift once that ran."""
    found = report(row("Work_Mem", "x", file="/etc/mine.conf", line=3, error=NOT_APPLIED))
    verdict = judged(found, ACK, included=Included(paths=frozenset({included}), new=new))

    reason = f'{NOTICE} in included file "/etc/mine.conf", line 3'
    complaint = Complaint(name="Work_Mem", reason=reason, file="/etc/mine.conf", line=3)
    assert (complaint,) == (verdict.bad if new else verdict.shadowed)
    assert (Proof.UPSTREAM if new else Proof.FULL) == verdict.proof
    assert judged(found, ACK) == Verdict(proof=Proof.FULL)  # a file of the operator
