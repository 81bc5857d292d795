"""What differs between two documents, in lines for people; no secret is quoted. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from compute_common.redact import HIDDEN, is_secret, redact
from compute_common.text import printable

MAX_VALUE: Final = 200
"""Characters of a value that are shown."""
_ABSENT: Final = object()


def difference(old: bytes | None, new: bytes | None) -> list[str]:
    """Return lines ``path: old -> new``, sorted by path; None is a document that is not there.

    The generation is no difference. What has a name, such as a setting, is found by it, not by its
    place in the list.
    """
    before, after = _flat(old), _flat(new)
    for flat, other in ((before, after), (after, before)):
        for path in [path for path, value in flat.items() if value in ([], {})]:
            if any(it.startswith((f"{path}[", f"{path}.")) for it in other):
                del flat[path]  # what it got, or had, says it
    return [
        f"{path}: {_shown(path, before.get(path, _ABSENT))}"
        f" -> {_shown(path, after.get(path, _ABSENT))}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path, _ABSENT) != after.get(path, _ABSENT)
    ]


def _flat(raw: bytes | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if raw is not None:
        _walk("", msgspec.json.decode(raw), found)
    found.pop("spec.generation", None)
    return found


def _walk(path: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            _walk(f"{path}.{name}" if path else name, item, found)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            _walk(f"{path}[{_key(index, item)}]", _content(item), found)
    else:
        found[path] = value


def _key(index: int, item: Any) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else str(index)


def _content(item: Any) -> Any:
    """Return *item* without what its path says; a plain setting is its value."""
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        return item
    left = {key: value for key, value in item.items() if key != "name"}
    if left.keys() <= {"value", "vartype"}:
        return left.get("value")
    return left


def _shown(path: str, value: Any) -> str:
    if value is _ABSENT:
        return "(none)"
    if value is not None and any(is_secret(part) for part in _parts(path)):
        return HIDDEN
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return printable(redact(text), MAX_VALUE)


def _parts(path: str) -> list[str]:
    return path.replace("[", ".").replace("]", "").split(".")
