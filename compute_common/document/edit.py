"""Changes of a document's text, as an operator makes them. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Raw

from compute_common.errors import SpecError
from compute_common.text import printable

_SETTING_NAME: Final = re.compile(r"[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)*", re.ASCII)


def with_setting(document: bytes | Raw, name: str, value: str | None) -> bytes:
    """Return the operator's text with setting *name* as *value*, without it where that is None.

    *document*: b"" for none yet.

    Raises:
        SpecError: *name* is not a name of a setting.
    """
    if _SETTING_NAME.fullmatch(name) is None:
        raise SpecError("spec.cluster.settings", f'"{printable(name)}" is not a name of a setting')
    parts = msgspec.json.decode(document or b'{"spec":{"cluster":{}}}')
    cluster = parts["spec"]["cluster"]
    options = cluster.get("settings") or []
    same = [option for option in options if option["name"].lower() == name.lower()]
    left = [option for option in options if option["name"].lower() != name.lower()]
    if value is not None:
        new = {**(same[-1] if same else {"name": name, "vartype": "string"}), "value": value}
        at = options.index(same[0]) if same else len(left)
        left.insert(at, new)
    cluster["settings"] = left
    return msgspec.json.encode(parts)


def with_generation(document: bytes, generation: int) -> bytes:
    """Return *document* with *generation* as its version, laid out for people."""
    parts = msgspec.json.decode(document)
    parts["spec"]["generation"] = generation
    return msgspec.json.format(msgspec.json.encode(parts), indent=2) + b"\n"
