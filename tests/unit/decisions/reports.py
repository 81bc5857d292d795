"""What a session reports of the server, for the tests of the verdict."""

from datetime import UTC, datetime, timedelta

from compute_ctl.decisions.proof import NOTHING, Ack, Included, Verdict, judge
from compute_ctl.decisions.sql_report import FileSetting, PendingRestart, SqlReport
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


def judged(
    found: SqlReport | None,
    ack: Ack | None = None,
    our_file: str = OURS,
    included: Included = NOTHING,
) -> Verdict:
    """Judge with this module's file, marker and names."""
    return judge(
        found,
        ack,
        our_file=our_file,
        marker=MARKER,
        swapped_at=SWAPPED,
        names=NAMES,
        included=included,
    )
