"""Where an operator's main configuration file is, and whether it includes ours."""

from pathlib import Path

import pytest

from compute_ctl.store.main_conf import config_file_option, include_line, includes, main_file

DEBIAN = (
    '/usr/lib/postgresql/15/bin/postgres "-D" "/var/lib/postgresql/15/main" '
    '"-c" "config_file=/etc/postgresql/15/main/postgresql.conf"\n'
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (DEBIAN, "/etc/postgresql/15/main/postgresql.conf"),
        ('/bin/postgres "--config-file=/a b/c.conf"', "/a b/c.conf"),
        ('/bin/postgres "--config_file=/x" "-cconfig_file=/y"', "/y"),
        ('/bin/postgres "-D" "/d" "-c" "port=1"', None),
        ('/bin/postgres "unbalanced', None),
        ("", None),
    ],
)
def test_option_names_the_main_file(options: str, expected: str | None) -> None:
    """The last config_file on the recorded command line counts, in each of its spellings."""
    assert config_file_option(options) == (Path(expected) if expected else None)


def test_main_file_by_precedence(tmp_path: Path) -> None:
    """The operator's word, then postmaster.opts, then postgresql.conf in the data directory."""
    assert main_file(tmp_path) == tmp_path / "postgresql.conf"
    (tmp_path / "postmaster.opts").write_text(DEBIAN)
    assert main_file(tmp_path) == Path("/etc/postgresql/15/main/postgresql.conf")
    assert main_file(tmp_path, Path("/mine.conf")) == Path("/mine.conf")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("include_if_exists = '/d/compute_ctl.conf'", True),
        ("  include '/d/compute_ctl.conf' # ours", True),
        ("include_if_exists='../d/compute_ctl.conf'", False),
        ("include 'compute_ctl.conf'", True),
        ("# include_if_exists = '/d/compute_ctl.conf'", False),
        ("include_dir = '/d/compute_ctl.conf'", False),
        ("include_if_exists = '/d/compute_ctl.conf.old'", False),
    ],
)
def test_include_is_recognised(line: str, expected: bool) -> None:
    """Only a live include of exactly our file counts; a relative name is the main file's."""
    text = f"port = 1\n{line}\n"
    assert includes(text, Path("/d/compute_ctl.conf"), folder=Path("/d")) is expected


def test_line_we_write_is_recognised_with_odd_names() -> None:
    """Quotes and backslashes in the path survive writing and reading."""
    path = Path("/d/it's a \\ folder/compute_ctl.conf")
    assert "include_if_exists = '/d/it''s a \\\\ folder/compute_ctl.conf'" == include_line(path)
    assert includes(include_line(path), path, folder=Path("/etc"))
