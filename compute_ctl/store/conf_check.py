"""Parses what `postgres -C` prints about a candidate configuration file. Pure.

The server names file and line for a syntax error or an unknown setting, but only the setting for a
bad value; `line_of` then finds the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

ARGUMENTS: Final = (
    # The command line overrides every file, so that the format of the output is known.
    "-c", "log_line_prefix=",
    "-c", "log_min_messages=log",
    "-c", "log_destination=stderr",
    "-c", "log_error_verbosity=default",
    "-c", "lc_messages=C",
)  # fmt: skip
"""Arguments that give the messages the format that `findings` reads."""

_FIRST = re.compile(r"(LOG|WARNING|ERROR|FATAL):\s+(.*)")
_MORE = re.compile(r"(DETAIL|HINT):\s+(.*)")
_PLACE = re.compile(r' in file "(?P<file>.*)" line (?P<line>\d+)')
_NAME = re.compile(r'parameter "([^"]+)"')
_SUMMARY = re.compile(r'configuration file ".*" contains errors')
_HARMLESS = re.compile(r'skipping missing configuration file ".*"')


class Finding:
    """The parts of one message of the server."""

    __slots__ = ("file", "line", "name", "reason")

    def __init__(self, text: str) -> None:
        place = _PLACE.search(text)
        name = _NAME.search(text)
        self.name = name[1] if name else None
        self.file = place["file"] if place else None
        self.line = int(place["line"]) if place else None
        self.reason = text[: place.start()] + text[place.end() :] if place else text


def findings(output: str) -> list[Finding]:
    """Return the errors in the server's *output*, each with its detail and hint.

    Without the message that the configuration file contains errors there are none: the server
    failed for another reason.
    """
    messages = list(_messages(output))
    if not any(map(_SUMMARY.search, messages)):
        return []
    return [
        Finding(text)
        for text in messages
        if not _SUMMARY.search(text) and not _HARMLESS.match(text)
    ]


def _messages(output: str) -> Iterator[str]:
    current: str | None = None
    for line in output.splitlines():
        if first := _FIRST.match(line):
            if current is not None:
                yield current
            current = first[2]
        elif current is not None and (more := _MORE.match(line)):
            current = f"{current} ({more[2].rstrip('.')})"
        elif current is not None and line.startswith("\t"):
            current = f"{current} {line.strip()}"
    if current is not None:
        yield current


def line_of(name: str, text: str) -> int | None:
    """Return the number of the last line of *text* that sets *name*, None if none does."""
    pattern = re.compile(rf"\s*{re.escape(name)}(\s|=)", re.IGNORECASE)
    found = None
    for number, line in enumerate(text.split("\n"), start=1):
        if pattern.match(line):
            found = number
    return found
