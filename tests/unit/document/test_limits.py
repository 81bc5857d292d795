"""How much a document may hold."""

from typing import Any

import pytest

from compute_common.errors import SpecError
from compute_ctl.document.limits import Limits
from compute_ctl.document.render import RenderContext
from tests.unit.document.rendering import made

SMALL = RenderContext(
    attach=True, internal_port=3081, limits=Limits(settings=3, roles=1, databases=1)
)


def options(count: int) -> dict[str, str | None]:
    """Return so many custom settings."""
    return {f"my.s{number}": "1" for number in range(count)}


def test_as_many_as_allowed() -> None:
    """The limit itself is allowed; comments and empty lines do not count."""
    rendered = made(options(2), text="# one\n\nmy.text = 1\n", context=SMALL)
    assert {"my.s0", "my.s1", "my.text"} <= rendered.names


@pytest.mark.parametrize(
    ("settings", "fields", "path", "reason"),
    [
        (4, {}, "spec.cluster.settings", "4 settings exceed the limit of 3"),
        (
            2,
            {"text": "a.b = 1\na.c = 1\n"},
            "spec.cluster.postgresql_conf",
            "4 settings, with those listed, exceed the limit of 3",
        ),
        (
            0,
            {"delta_operations": [{"action": "delete_db", "name": "x"}] * 3},
            "spec.delta_operations",
            "3 operations exceed the limit of 2",
        ),
    ],
)
def test_more_are_refused(settings: int, fields: dict[str, Any], path: str, reason: str) -> None:
    """The message names the field, the number and the limit."""
    with pytest.raises(SpecError) as error:
        made(options(settings), context=SMALL, **fields)
    assert (path, reason) == (error.value.path, error.value.reason)


def test_thousand_settings_are_the_default() -> None:
    """More take the server seconds to check, and each of its processes to read."""
    made(options(1000))
    with pytest.raises(SpecError) as error:
        made(options(1001))
    assert "1001 settings exceed the limit of 1000" == error.value.reason
    assert 'The daemon takes more with "--max-settings 1001".' == error.value.hint
