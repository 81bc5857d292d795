"""What a document may not take away from a live compute."""

import json
from typing import Any

import pytest

from compute_common.document.document import Document, decode_document
from compute_common.errors import SpecError
from compute_ctl.document.continuity import Live, check_omissions, older_safekeepers

PRIMARY = {"primary_conninfo": "host=a"}


def document(**spec: Any) -> Document:
    """Return a document with *spec*."""
    return decode_document(json.dumps({"spec": {"cluster": {}, **spec}}).encode())


@pytest.mark.parametrize(
    ("mode", "before", "allowed"),
    [
        ({"mode": "Primary"}, "Replica", True),
        ({"mode": "Primary"}, None, True),
        ({"mode": "Primary"}, "Primary", False),
        ({"mode": "Replica"}, "Replica", False),
        ({}, None, False),
        ({}, "Replica", False),
    ],
)
def test_only_a_promotion_takes_the_primary(
    mode: dict[str, str], before: str | None, allowed: bool
) -> None:
    """A standby that becomes a primary says so; anything else has lost its primary_conninfo."""
    live = Live(servers=PRIMARY, mode=before)
    check_omissions(document(**mode), PRIMARY, live)
    if allowed:
        check_omissions(document(**mode), {}, live)
        return
    with pytest.raises(SpecError) as refused:
        check_omissions(document(**mode), {}, live)
    assert "spec.cluster.settings" == refused.value.path
    assert "primary_conninfo" in refused.value.reason


def test_a_stock_server_has_nothing_to_lose() -> None:
    """Neither a first document nor one for a server without Neon needs tenant or servers."""
    check_omissions(document(), {}, Live(servers={}))
    with pytest.raises(SpecError) as refused:
        check_omissions(document(), {}, Live(tenant="t", servers={}))
    assert "spec.tenant_id" == refused.value.path


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ("g#4:a:1,b:1", "g#4:b:1,a:1", True),
        ("g#4:a:1", "g#5:b:1", True),
        ("a:1", "b:1", True),
        ("a:1", "g#1:b:1", True),
        ("g#4:a:1", "g#3:a:1", False),
        ("g#4:a:1", "g#4:b:1", False),
        ("g#4:a:1", "a:1", False),
    ],
)
def test_the_generation_of_safekeepers_never_falls(old: str, new: str, allowed: bool) -> None:
    """A lower one is older; an equal one with other names contradicts what is known."""
    found = older_safekeepers({"neon.safekeepers": new}, Live(servers={"neon.safekeepers": old}))
    assert allowed == (found is None)
