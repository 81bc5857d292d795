"""Whose word a setting is, as the server's answers tell."""

from dataclasses import replace

import pytest

from compute_ctl.cli.setting import SettingRows, explain_setting
from compute_ctl.document.generation import MARKER_SETTING

OURS = "/d/compute_ctl.conf"
MARKER = (MARKER_SETTING, "1.x.y", OURS, "9", "t", None)
FOUND = SettingRows(
    setting=("work_mem", "8MB", "user", "configuration file", OURS, "3", "4096", "f", "kB"),
    files=[("work_mem", "8MB", OURS, "3", "t", None), MARKER],
    overrides=[],
)


def of_source(source: str, file: str | None = None) -> SettingRows:
    """Return a setting whose value comes from *source*."""
    name, value, context, _, _, _, default, pending, unit = FOUND.setting
    return replace(FOUND, setting=(name, value, context, source, file, "1", default, pending, unit))


def test_setting_of_the_document() -> None:
    """Value, default with its unit, place, and what it takes to change it."""
    found = explain_setting(FOUND)
    assert (
        "8MB",
        "4096 (kB)",
        "compute_ctl: the document's settings",
    ) == (found.value, found.default, found.owner)
    assert (OURS, 3, "reload, or SET") == (found.file, found.line, found.changes_by)
    assert [("8MB", True)] == [(one.value, one.applied) for one in found.lines]


@pytest.mark.parametrize(
    ("source", "file", "owner"),
    [
        ("configuration file", "/d/postgresql.auto.conf", "ALTER SYSTEM"),
        ("configuration file", "/d/postgresql.conf", "another file"),
        ("configuration file", None, "a configuration file that only a superuser may see"),
        ("default", None, "the default"),
        ("command line", None, "the command line of the server"),
        ("database", None, "ALTER DATABASE"),
        ("user", None, "ALTER ROLE"),
    ],
)
def test_owner(source: str, file: str | None, owner: str) -> None:
    """Every source of a value has a name that says whom to talk to."""
    assert owner == explain_setting(of_source(source, file)).owner


def test_main_file_is_ours_where_it_has_the_marker() -> None:
    """The daemon may own postgresql.conf itself: the marker in it says so."""
    main = "/d/postgresql.conf"
    files = [("work_mem", "8MB", main, "3", "t", None), (*MARKER[:2], main, *MARKER[3:])]
    found = explain_setting(replace(of_source("configuration file", main), files=files))
    assert "compute_ctl: the document's settings" == found.owner


def test_our_own_session_does_not_deceive() -> None:
    """What this command forces on its session is not told as the server's value."""
    setting = ("lock_timeout", "0", "user", "client", None, None, "0", "f", "ms")
    line = ("lock_timeout", "5s", OURS, "4", "t", None)
    found = explain_setting(SettingRows(setting=setting, files=[line, MARKER], overrides=[]))
    assert ("5s", OURS, 4) == (found.value, found.file, found.line)


def test_secrets_are_hidden() -> None:
    """A password in a connection string is not shown, nor the nonce of the marker."""
    secret = "host=a password=hunter2"
    setting = ("primary_conninfo", secret, "sighup", "configuration file", OURS, "3", "", "t", None)
    files = [("primary_conninfo", secret, OURS, "3", "t", None), MARKER]
    found = explain_setting(
        SettingRows(setting=setting, files=files, overrides=[("d", None, secret)])
    )
    assert "hunter2" not in repr(found)
    assert "compute_ctl: the document's servers" == found.owner
    assert found.pending_restart is True


def test_command_line_beats_the_files() -> None:
    """What the server calls applied in a file is not in force; a reload will not change that."""
    found = explain_setting(of_source("command line"))
    assert [False] == [one.applied for one in found.lines]
    assert "restart without it on the command line" == found.changes_by
