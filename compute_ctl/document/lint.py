"""Warnings about a document that can be applied: misspelt names, and exposed secrets.

Unknown fields are ignored, as the reference does it, so nobody notices a misspelt one until what it
asks for does not happen. Each is named with the nearest name that is known. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final, get_args

import msgspec
from msgspec.structs import fields

from compute_common.document.document import Document, Wire
from compute_common.document.spec import Cluster, GenericOption
from compute_common.errors import SpecError
from compute_common.redact import is_secret, redact
from compute_common.text import printable
from compute_ctl.document.conninfo import KEYWORDS, parse
from compute_ctl.document.quoting import settings_in
from compute_ctl.document.spec_sources import CONNSTRING, PRIMARY, UPSTREAM_SETTINGS

MAX_WARNINGS: Final = 20
"""At most so many warnings."""
_LOOKED_AT: Final = 4096
"""Characters of a value in which a secret is looked for."""
_ALIKE: Final = 0.85
"""Similarity of two names from which one counts as a misspelling of the other."""
_DEDICATED: Final = (*sorted(UPSTREAM_SETTINGS), "neon.tenant_id", "neon.timeline_id")


def warnings(document: Document) -> tuple[str, ...]:
    """Return what is odd in *document*, each with the path of its field; no secret is quoted."""
    every = chain(_unknown_members(document), _primary(document), _secrets(document))
    found = list(islice(every, MAX_WARNINGS))
    if next(every, None) is not None:
        found.append("and more of the kind")
    return tuple(found)


def _unknown_members(document: Document) -> Iterator[str]:
    for name in document.ignored:
        yield _unknown(name, ("spec", "compute_ctl_config", "status"))
    parts = msgspec.json.decode(document.json)
    yield from _unknown_fields(parts, Wire, "")
    for index, option in enumerate(document.spec.cluster.settings or ()):
        name = option.name.lower()
        near = get_close_matches(name, _DEDICATED, 1, _ALIKE)
        if near and name not in _DEDICATED and "." in name:
            path = f"spec.cluster.settings[{index}]"
            yield f'{path}: setting "{printable(name)}" looks like "{near[0]}"'


def _unknown_fields(value: Any, model: type, path: str) -> Iterator[str]:
    """Yield the fields of the JSON *value* that the struct *model* does not have."""
    known = _fields(model)
    for name, item in value.items():
        where = f"{path}.{name}" if path else name
        if name not in known:
            yield _unknown(where, known)
            continue
        inner = known[name]
        if inner is None or item is None:
            continue
        if isinstance(item, list):
            for index, one in enumerate(item):
                yield from _unknown_fields(one, inner, f"{where}[{index}]")
        elif isinstance(item, dict) and _is_map(model, name):
            for key, one in item.items():
                yield from _unknown_fields(one, inner, f"{where}.{key}")
        elif isinstance(item, dict):
            yield from _unknown_fields(item, inner, where)


def _unknown(path: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    name = path.rpartition(".")[2]
    near = get_close_matches(name, list(known), 1)
    hint = f', did you mean "{near[0]}"?' if near else ""
    return f"{printable(path, 200)}: unknown field, ignored{hint}"


@lru_cache(maxsize=64)
def _fields(model: type) -> dict[str, type | None]:
    """Return the fields of a struct by their names in JSON, with the struct in each, if any."""
    return {field.encode_name: _struct_in(field.type) for field in fields(model)}


@lru_cache(maxsize=256)
def _is_map(model: type, name: str) -> bool:
    """Whether the field *name* holds an object with keys of the writer's own."""
    (found,) = (field.type for field in fields(model) if field.encode_name == name)
    return "dict[" in str(found)


def _struct_in(kind: Any) -> type | None:
    """Return the struct that a type consists of, or holds."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    inner = (_struct_in(argument) for argument in get_args(kind))
    return next((found for found in inner if found is not None), None)


def _primary(document: Document) -> Iterator[str]:
    named = False
    for path, name, value in _settings(document.spec.cluster):
        if name != PRIMARY or not value:
            continue
        named = True
        try:
            conninfo = parse(value, path=path)
        except SpecError as error:
            yield str(error)
            continue
        for keyword in conninfo.params.keys() - KEYWORDS:
            near = get_close_matches(keyword, KEYWORDS, 1)
            hint = f', did you mean "{near[0]}"?' if near else ""
            yield f'{path}: libpq knows no connection parameter "{printable(keyword)}"{hint}'
        if not conninfo.host and "service" not in conninfo.params:
            yield f"{path}: names no host, so the server would follow itself"
    if document.spec.mode == "Replica" and not named:
        yield "spec.mode: a replica without a primary (primary_conninfo)"


def _secrets(document: Document) -> Iterator[str]:
    """Yield where passwords stand in settings: a changed value is written to the server's log."""
    for path, name, whole in _settings(document.spec.cluster):
        value = whole[:_LOOKED_AT]
        secret = is_secret(name) or redact(value) != value
        if not secret or not value or name == CONNSTRING:  # its password is moved to the token
            continue
        if name == PRIMARY:
            advice = "use passfile"
        elif "." in name:
            advice = "any user can read it, too"
        else:
            advice = "keep it in a file that only the server can read"
        yield f'{path}: "{printable(name)}" holds a secret, which goes to the server log; {advice}'


def _settings(cluster: Cluster) -> Iterator[tuple[str, str, str]]:
    """Yield path, lower-case name and value of all that the document sets."""
    option: GenericOption
    for index, option in enumerate(cluster.settings or ()):
        yield f"spec.cluster.settings[{index}].value", option.name.lower(), option.value or ""
    path = "spec.cluster.postgresql_conf"
    try:
        for line in settings_in(cluster.postgresql_conf or "", path):
            yield f"{path} (line {line.number})", line.name.lower(), line.value
    except SpecError:  # such a document is refused, with the line
        return
