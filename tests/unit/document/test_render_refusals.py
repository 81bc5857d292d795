"""What would break the file, or must not stand in it, is refused with its place."""

from typing import Any

import pytest

from compute_common.errors import SpecError
from compute_ctl.document.generation import MARKER_SETTING
from tests.unit.document.rendering import SUPERVISE, made


@pytest.mark.parametrize(
    ("settings", "path", "reason"),
    [
        ({"a": None}, "spec.cluster.settings[0].value", 'setting "a" has no value'),
        (
            {"a": "x\ny"},
            "spec.cluster.settings[0].value",
            "control character U+000A at offset 1",
        ),
        ({"a b": ""}, "spec.cluster.settings[0].name", '"a b" is not a name of a setting'),
        (
            {"b": "", "include": "/etc/passwd"},
            "spec.cluster.settings[1].name",
            '"include" is a directive, not a setting',
        ),
        (
            {MARKER_SETTING.upper(): "1"},
            "spec.cluster.settings[0].name",
            f'"{MARKER_SETTING}" is written by the daemon alone',
        ),
        *(
            ({name: "x"}, "spec.cluster.settings[0].name", f'"{name}" cannot be set by this file')
            for name in ("data_directory", "config_file", "hba_file", "external_pid_file")
        ),
        (
            {"primary_conninfo": "host"},
            "spec.cluster.settings[0].value",
            "not a connection string: no key=value at offset 0",
        ),
        (
            {"neon.pageserver_connstring": "x\n"},
            "spec.cluster.settings[0].value",
            "a connection string cannot hold a control character",
        ),
    ],
)
def test_refuses_settings(settings: dict[str, str | None], path: str, reason: str) -> None:
    """What would break the file, or must not stand in it, is refused with its place."""
    with pytest.raises(SpecError) as caught:
        made(settings)

    assert (caught.value.path, caught.value.reason) == (path, reason)


def test_supervised_server_may_have_its_own_hba_file() -> None:
    """Only where the main file is somebody else's must these stay there."""
    assert "hba_file" in made({"hba_file": "/x"}, context=SUPERVISE).names


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"project_id": "a\nb"}, "spec.project_id"),
        ({"storage_auth_token": "a\nb"}, "spec.storage_auth_token"),
        ({"text": f"a = 1\n{MARKER_SETTING} = 'x'"}, "spec.cluster.postgresql_conf"),
        ({"text": "data_directory = '/x'"}, "spec.cluster.postgresql_conf"),
        ({"text": "a"}, "spec.cluster.postgresql_conf"),
        ({"text": "a = 1\0"}, "spec.cluster.postgresql_conf"),
    ],
)
def test_refuses_fields(fields: dict[str, Any], path: str) -> None:
    """Dedicated fields and text are checked too."""
    with pytest.raises(SpecError) as caught:
        made(**fields)

    assert caught.value.path == path
