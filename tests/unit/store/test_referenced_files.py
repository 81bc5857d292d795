"""The files that a configuration makes the postmaster read."""

import os
from pathlib import Path

import pytest

from compute_common.errors import SpecError
from compute_ctl.store.referenced_files import check_referenced_files


def check(folder: Path, body: str) -> None:
    """Check *body* as the file of a cluster in *folder*."""
    check_referenced_files(body, folder=folder, pgdata=folder, attach=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a FIFO, and files that lead to it."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "plain.conf").write_text("work_mem = '4MB'\n")
    (tmp_path / "leads.conf").write_text("include 'fifo'\n")
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d" / "a.conf")
    (tmp_path / "ok").mkdir()
    os.mkfifo(tmp_path / "ok" / "not-taken")
    (tmp_path / "round.conf").write_text("include 'round.conf'\n")
    return tmp_path


@pytest.mark.parametrize(
    "body",
    [
        "include 'plain.conf'\n",
        "include_if_exists = 'missing.conf'\n",
        "include_dir 'ok'\n",
        "include 'round.conf'\n",
        "hba_file = 'plain.conf'\nssl_cert_file = 'missing'\n",
        "work_mem = 'fifo'\n",
    ],
)
def test_regular_and_missing_files_pass(folder: Path, body: str) -> None:
    """What is missing is the server's to judge; what is not read does not matter."""
    check(folder, body)


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        ("a = 1\nInclude 'fifo'\n", "postgresql_conf", '"include" (line 2) names "{}/fifo"'),
        ("include_if_exists='link'\n", "postgresql_conf", '"include_if_exists" (line 1) names'),
        ("include leads.conf\n", "postgresql_conf", '"include" (line 1) names "{}/fifo"'),
        ("include_dir 'd'\n", "postgresql_conf", '"include_dir" (line 1) names "{}/d/a.conf"'),
        ("hba_file = 'fifo'\n", "settings", '"hba_file" names "{}/fifo"'),
    ],
)
def test_a_fifo_is_refused(folder: Path, body: str, path: str, said: str) -> None:
    """The message names the line, the file and what it is."""
    with pytest.raises(SpecError) as error:
        check(folder, body)
    assert f"spec.cluster.{path}" == error.value.path
    assert said.format(folder) in error.value.reason
    assert error.value.reason.endswith("which is a FIFO and no regular file")


@pytest.mark.parametrize(
    ("setting", "attach", "allowed"),
    [
        ("hba_file", True, False),
        ("hba_file", False, True),
        ("data_directory", False, False),
        ("neon_refresh.config_generation", True, False),
        ("work_mem", True, True),
    ],
)
def test_an_included_file_sets_no_more_than_the_document(
    tmp_path: Path, setting: str, attach: bool, allowed: bool
) -> None:
    """What the document itself may not set comes in by no include either, however deep."""
    (tmp_path / "outer.conf").write_text("include 'inner.conf'\n")
    (tmp_path / "inner.conf").write_text(f"{setting.upper()} = 'x'\n")
    body = "include_if_exists = 'outer.conf'\n"
    if allowed:
        check_referenced_files(body, folder=tmp_path, pgdata=tmp_path, attach=attach)
        return
    with pytest.raises(SpecError, match=f'inner.conf" sets "{setting}", which a document'):
        check_referenced_files(body, folder=tmp_path, pgdata=tmp_path, attach=attach)
