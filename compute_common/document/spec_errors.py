"""Which field of a document is wrong, from msgspec's refusal of it. Pure.

msgspec names a field by a path like ``$.spec.shards[...].id``, where ``[...]`` stands for some key
of an object; here the key is found by trying each alone.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from compute_common.errors import SpecError

_AT = re.compile(r" - at `\$(.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]|\[\.\.\.\]")


def refusal(error: msgspec.ValidationError, parts: dict[str, Any], wire: type) -> SpecError:
    """Return *error*, met when *parts* was converted to *wire*, with the JSON path of the field."""
    message = str(error)
    at = _AT.search(message)
    reason = message[: at.start()] if at else message
    missing = _MISSING.fullmatch(reason)
    steps: list[str | int] = []
    for name, index in _STEP.findall(at[1] if at else ""):
        if name or index:
            steps.append(int(index) if index else name)
        else:
            key, parts = _culprit(parts, steps, wire, message)
            steps.append(key)
    if missing is not None:
        steps.append(missing[1])
        reason = "missing"
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return SpecError(path.removeprefix("."), reason[:1].lower() + reason[1:].replace("`", ""))


def _culprit(
    parts: dict[str, Any], steps: list[str | int], wire: type, message: str
) -> tuple[str, dict[str, Any]]:
    """Return the key of the object at *steps* refused with *message*, and *parts* with it alone."""
    found: Any = parts
    for step in steps:
        found = found[step]
    trial = parts
    for key, value in found.items():
        trial = _replaced(parts, steps, {key: value})
        try:
            msgspec.convert(trial, wire)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return key, trial
    return "?", trial


def _replaced(parts: Any, steps: list[str | int], value: Any) -> Any:
    """Return a copy of *parts* with *value* at *steps*."""
    if not steps:
        return value
    copy = parts.copy()
    copy[steps[0]] = _replaced(parts[steps[0]], steps[1:], value)
    return copy
