"""A document in which only the address of the primary is replaced. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from compute_common.document.json_text import refuse_duplicates
from compute_common.errors import SpecError
from compute_ctl.document.conninfo import parse
from compute_ctl.document.spec_sources import PRIMARY

_ADDRESS: Final = frozenset({"host", "hostaddr", "port"})
_PATH: Final = "spec.cluster.settings"


def with_primary(template: bytes, *, host: str, port: int) -> bytes:
    """Return the document *template*, JSON, with this host and port in its `primary_conninfo`.

    What else the connection string says stays, but for a `hostaddr`, which would override the host.

    Raises:
        SpecError: it has no `primary_conninfo`, or libpq would not take it.
    """
    refuse_duplicates(template)  # what is written anew has none
    document = msgspec.json.decode(template)
    option = _primary(document)
    params = parse(option["value"], path=f"{_PATH}.{PRIMARY}").params
    rest = {key: value for key, value in params.items() if key not in _ADDRESS}
    option["value"] = conninfo({"host": host, "port": str(port), **rest})
    return msgspec.json.encode(document)


def conninfo(params: Mapping[str, str]) -> str:
    """Return *params* as a connection string of the form key=value."""
    return " ".join(f"{key}={_quoted(value)}" for key, value in params.items())


def _quoted(value: str) -> str:
    if value and not any(character in "'\\" or character.isspace() for character in value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _primary(document: Any) -> dict[str, Any]:
    """Return the entry that counts: the last one that has a value."""
    found: Any = document
    for name in _PATH.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    for option in reversed(found if isinstance(found, list) else []):
        if not isinstance(option, dict) or not isinstance(option.get("value"), str):
            continue
        if str(option.get("name")).lower() == PRIMARY:
            return option
    raise SpecError(
        _PATH,
        f'names no "{PRIMARY}"',
        hint="It holds what does not change with the leader, for example user=replicator.",
    )
