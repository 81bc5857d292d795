"""What overrides settings of ours, and when that keeps the servers out of force."""

from dataclasses import replace

import pytest

from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.decisions.sql_report import Running
from tests.unit.decisions.reports import (
    ACK,
    AUTO,
    BAD_MEM,
    OURS,
    judged,
    report,
    row,
)


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
    assert ["primary_conninfo"] == [item.name for item in verdict.shadowed]
    assert verdict.lost is (proof is Proof.NONE)


def test_own_later_line_is_no_drift() -> None:
    """Of two lines in our own file the last counts, as meant."""
    verdict = judged(report(row("work_mem", "1", applied=False), row("work_mem", "2", line=2)))

    assert verdict == Verdict(proof=Proof.FULL)


def test_file_is_known_by_its_marker() -> None:
    """Postgres may name our file by another path, as through a link."""
    verdict = judged(report(BAD_MEM), our_file="/link/compute_ctl.conf")

    assert ["Work_Mem"] == [item.name for item in verdict.bad]


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
