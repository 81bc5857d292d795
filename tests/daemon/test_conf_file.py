"""Candidates checked by the real server binary."""

from pathlib import Path

import pytest

from compute_ctl.decisions.proof import Complaint
from compute_ctl.store.conf_file import ConfFile
from devstack.installation import binary
from devstack.postgres import Template
from tests.support.files import names

CANDIDATE = """\
# a candidate
work_mem = '4MB'
neon.pageserver_connstring = 'host=10.0.0.1'
neon_refresh.config_generation = '1.x.y'
"""


@pytest.fixture
def data(template: Template, tmp_path: Path) -> Path:
    """A data directory with nothing but what the check reads."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("PG_VERSION", "postgresql.auto.conf"):
        (folder / name).write_bytes((template.data / name).read_bytes())
    return folder


def supervised(data: Path) -> ConfFile:
    """The store of a daemon that runs the server."""
    return ConfFile(data / "postgresql.conf", pgdata=data, pgbin=binary("postgres"))


def attached(data: Path, main: Path) -> ConfFile:
    """The store of a daemon whose server has the main file *main*."""
    return ConfFile(
        data / "compute_ctl.conf",
        pgdata=data,
        pgbin=binary("postgres"),
        attach=True,
        config_file=main,
    )


def test_good_candidate_passes(data: Path) -> None:
    """Nothing is complained about, custom settings included, and the live file is untouched."""
    conf = supervised(data)
    conf.swap("port = 1\n")
    before = (data / "postgresql.conf").stat()
    listing = names(data)
    assert [] == conf.check(CANDIDATE)
    assert (data / "postgresql.conf").stat() == before
    assert names(data) == listing


@pytest.mark.parametrize(
    ("line", "name", "reason"),
    [
        ("work_mem = 'lots'", "work_mem", 'invalid value for parameter "work_mem": "lots"'),
        (
            "log_statement = nope",
            "log_statement",
            'invalid value for parameter "log_statement": "nope"'
            " (Available values: none, ddl, mod, all)",
        ),
        (
            "no_such_thing = 1",
            "no_such_thing",
            'unrecognized configuration parameter "no_such_thing"',
        ),
        ("work_mem == 1", None, 'syntax error, near token "="'),
    ],
)
def test_complaint_names_setting_line_and_reason(
    data: Path, line: str, name: str | None, reason: str
) -> None:
    """What the server refuses is told with the live file's name and the candidate's line."""
    complaints = supervised(data).check(f"{CANDIDATE}{line}\n")
    path = str(data / "postgresql.conf")
    assert complaints == [Complaint(name=name, reason=reason, file=path, line=5)]


def test_settings_that_would_hide_the_messages_do_not(data: Path) -> None:
    """A candidate that silences the log, or prefixes it, is understood all the same."""
    quiet = "log_min_messages = panic\nlog_line_prefix = '%m '\nlog_error_verbosity = verbose\n"
    complaints = supervised(data).check(f"{quiet}work_mem = x\n")
    assert [("work_mem", 4)] == [(c.name, c.line) for c in complaints]


@pytest.fixture
def main(data: Path, tmp_path: Path) -> Path:
    """A main file outside the data directory, as Debian has it, with relative includes."""
    folder = tmp_path / "etc"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "conf.d" / "one.conf").write_text("maintenance_work_mem = 64MB\n")
    path = folder / "postgresql.conf"
    path.write_text(f"data_directory = '{data}'\nport = 5555\ninclude_dir 'conf.d'\n")
    return path


def test_attached_candidate_is_checked_with_the_main_file(data: Path, main: Path) -> None:
    """Beside the operator's file a good candidate passes, and a bad one has its own line."""
    conf = attached(data, main)
    conf.ensure_included()
    assert [] == conf.check(CANDIDATE)
    assert conf.check(f"{CANDIDATE}work_mem = 1kB\n") == [
        Complaint(
            name="work_mem",
            reason='1 kB is outside the valid range for parameter "work_mem" (64 .. 2147483647)',
            file=str(data / "compute_ctl.conf"),
            line=5,
        )
    ]


def test_faults_of_the_old_file_are_not_the_candidates(data: Path, main: Path) -> None:
    """What is wrong in the live file is going to be replaced, so it is no complaint."""
    conf = attached(data, main)
    conf.ensure_included()
    conf.swap("temp_buffers = lots\nno_such_thing = 1\n")
    assert [] == conf.check(CANDIDATE)
    conf.swap("temp_buffers = lots\n")
    assert [] == conf.check(CANDIDATE)


def test_faults_of_others_are_told_with_their_place(data: Path, main: Path) -> None:
    """An error in the operator's file is reported as what it is: not in ours."""
    conf = attached(data, main)
    with main.open("a") as file:
        file.write("temp_buffers = lots\n")
    (complaint,) = conf.check(CANDIDATE)
    assert (complaint.name, complaint.file, complaint.line) == ("temp_buffers", str(main), 4)
