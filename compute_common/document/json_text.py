"""Where JSON text is malformed, as line and column; whether a key stands twice. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from compute_common.errors import SpecError
from compute_common.text import printable

_AT_BYTE: Final = re.compile(r"\AJSON is malformed: (.*) \(byte ([0-9]+)\)\Z", re.DOTALL)
_TRUNCATED: Final = "Input data was truncated"


@dataclass(frozen=True, slots=True)
class Malformed:
    """What is wrong with a text that should be JSON."""

    reason: str
    line: int | None = None
    """From 1; None where the parser does not tell a position."""
    column: int | None = None
    """In characters, from 1."""

    def __str__(self) -> str:
        """Return one line for logs and the API."""
        place = f"line {self.line}, column {self.column}: " if self.line is not None else ""
        return f"{place}{self.reason}"


def malformed(raw: bytes, error: Exception) -> Malformed:
    """Return what msgspec's *error*, met when *raw* was decoded, says and about which place.

    msgspec tells the offset in bytes inside its message. Text that is no UTF-8 is looked at again,
    since the offset told then counts from the start of one string.
    """
    if isinstance(error, UnicodeDecodeError):
        try:
            raw.decode()
        except UnicodeDecodeError as again:
            return _at(raw, again.start, f"not UTF-8: {again.reason}")
    if isinstance(error, RecursionError):
        return Malformed("nested too deeply")
    text = str(error)
    found = _AT_BYTE.match(text)
    if found is not None:
        return _at(raw, int(found[2]), found[1])
    if text == _TRUNCATED:
        end = len(raw.rstrip())
        return _at(raw, end, "the text ends too early" if end else "the text is empty")
    return Malformed(text[:1].lower() + text[1:].replace("`", ""))


def _at(raw: bytes, offset: int, reason: str) -> Malformed:
    before = raw[:offset]
    start = before.rfind(b"\n") + 1
    return Malformed(
        reason,
        line=before.count(b"\n") + 1,
        column=len(before[start:].decode(errors="replace")) + 1,
    )


def refuse_duplicates(raw: bytes) -> None:
    """Refuse an object with the same key twice: which one counts differs between readers.

    *raw* must be well-formed. Raises SpecError, also where it is nested too deeply.
    """

    def check(pairs: list[tuple[str, object]]) -> None:
        if len({key for key, _ in pairs}) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise SpecError("", f'key "{printable(twice)}" appears twice in one object')

    try:
        json.loads(raw, object_pairs_hook=check, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError as error:
        raise SpecError("", "nested too deeply") from error
