"""A document whose primary is somebody else's to name."""

import json
from typing import Any

import pytest

from compute_common.document.document import decode_document
from compute_common.errors import SpecError
from compute_ctl.document.conninfo import parse
from compute_ctl.document.primary_template import conninfo, with_primary


def template(*values: str | None) -> bytes:
    """A document with these values of `primary_conninfo`, one after the other."""
    settings = [{"name": "Primary_Conninfo", "value": value} for value in values]
    spec = {"generation": 7, "cluster": {"settings": [*settings, {"name": "port", "value": "5"}]}}
    return json.dumps({"spec": spec, "compute_ctl_config": None}).encode()


def values(document: bytes) -> list[Any]:
    """What the settings of a document are."""
    return [option["value"] for option in json.loads(document)["spec"]["cluster"]["settings"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("user=r", "host=new port=6432 user=r"),
        ("host=old port=1 hostaddr=10.0.0.1 user=r", "host=new port=6432 user=r"),
        ("host=a,b port=1,2 user=r", "host=new port=6432 user=r"),
        ("postgresql://r:p%20w@old:1/?sslmode=require", None),
        ("", "host=new port=6432"),
    ],
)
def test_only_the_address_is_replaced(value: str, expected: str | None) -> None:
    """Whatever form the connection string has."""
    expected = expected or "host=new port=6432 user=r password='p w' sslmode=require"
    made = with_primary(template(value), host="new", port=6432)

    assert [expected, "5"] == values(made)
    assert decode_document(made).version == decode_document(template(value)).version


def test_the_entry_that_counts_is_the_last_with_a_value() -> None:
    """As where the document is read."""
    made = with_primary(template("user=x", "user=y", None), host="new", port=1)
    assert ["user=x", "host=new port=1 user=y", None, "5"] == values(made)


@pytest.mark.parametrize("value", ["a b", "it's", "back\\slash", "", " ", "plain", "\t"])
def test_values_are_quoted(value: str) -> None:
    """What is written is read as the same."""
    params = {"password": value, "user": "r"}
    assert params == parse(conninfo(params)).params


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (template(), 'spec.cluster.settings: names no "primary_conninfo"'),
        (b"[]", 'spec.cluster.settings: names no "primary_conninfo"'),
        (b'{"spec": {"cluster": {"settings": {}}}}', 'names no "primary_conninfo"'),
        (template("user"), "spec.cluster.settings.primary_conninfo: not a connection string"),
        (b'{"spec": {}, "spec": {}}', 'key "spec" appears twice in one object'),
    ],
)
def test_what_is_no_template(document: bytes, reason: str) -> None:
    """It is refused with field and reason."""
    with pytest.raises(SpecError, match=reason):
        with_primary(document, host="new", port=1)
