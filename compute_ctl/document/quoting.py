"""How names and values stand in a Postgres configuration file. Pure.

Every value is written quoted, whatever its type: ``name = 'value'`` has the same effect, and
nothing in a value can begin another line. The grammar is that of the server's own lexer
(guc-file.l): a string never spans lines, a backslash escapes, a doubled quote is a quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from compute_common.errors import SpecError
from compute_common.text import has_control, printable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

DIRECTIVES: Final = frozenset({"include", "include_if_exists", "include_dir"})
"""Names that are no settings: they make the server read another file."""

# A-Z, a-z, _ and all beyond ASCII; then also 0-9 and $; then also . / : and -. Each is written as
# what it is not, since a range up to U+10FFFF takes milliseconds to compile.
_FIRST = r"[^\x00-@\[-^`{-\x7f]"
_NEXT = r"[^\x00-#%-/:-@\[-^`{-\x7f]"
_BARE = r"[^\x00-#%-,;-@\[-^`{-\x7f]"

# Atomic groups: a token is as long as it can be, as in the lexer, so `work_mem4` is one name.
_LINE = re.compile(
    rf"""(?>[ \t\r]*)
    (?:
        (?P<name>(?>{_FIRST}{_NEXT}*+(?:\.{_FIRST}{_NEXT}*+)?))
        (?>[ \t\r]*)=?(?>[ \t\r]*)
        (?:
            '(?P<string>(?>(?:[^'\\\n]++|\\.|'')*))'
          | (?P<bare>(?>{_FIRST}{_BARE}*
                    | [-+]?0x[0-9A-Fa-f]+[A-Za-z]*
                    | [-+]?[0-9]*\.[0-9]*(?:[Ee][-+]?[0-9]+)?
                    | [-+]?[0-9]+[A-Za-z]*))
        )
        (?>[ \t\r]*)
    )?
    (?:\#.*)?""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)|''")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def check_name(name: str, path: str) -> None:
    """Refuse what is not a name of a setting; *path* names the field.

    Raises:
        SpecError: not an identifier with at most one dot, or a directive such as ``include``.
    """
    if _NAME.fullmatch(name) is None:
        raise SpecError(path, f'"{printable(name)}" is not a name of a setting')
    if name.lower() in DIRECTIVES:
        raise SpecError(path, f'"{name}" is a directive, not a setting')


def check_value(value: str, path: str) -> None:
    """Refuse a value that no line of the file can hold.

    Raises:
        SpecError: it has a control character.
    """
    found = _CONTROL.search(value)
    if found is not None:
        raise SpecError(path, f"control character U+{ord(found[0]):04X} at offset {found.start()}")


def quote_value(value: str) -> str:
    """Return *value* as a quoted string of the configuration file."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def setting_line(name: str, value: str) -> str:
    """Return the line that sets *name*; both must have passed their checks."""
    return f"{name} = {quote_value(value)}\n"


@dataclass(frozen=True, slots=True)
class Line:
    """A setting or directive found in a text."""

    number: int
    """Counts from 1."""
    name: str
    value: str


def settings_in(text: str, path: str) -> Iterator[Line]:
    """Read configuration *text* as the server would; *path* names the field it comes from.

    Raises:
        SpecError: a line that makes the server refuse the whole file.
    """
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.fullmatch(line)
        plain = line.isprintable()  # fast, and there is no control character then
        if match is None or not (plain or not has_control(line.replace("\t", "").rstrip("\r"))):
            raise SpecError(path, f"line {number} is not a setting{_shown(line)}")
        name = match["name"]
        if name is not None:
            string = match["string"]
            value = match["bare"] if string is None else _unescape(string)
            yield Line(number, name, value)


def _shown(line: str) -> str:
    """Return what *line* seems to set, for a message; anything else in it may be a secret."""
    name = re.match(r"\s*([\w.$]+)\s*=", line, re.ASCII)
    return f': "{name[1]}"' if name else ""


def _unescape(string: str) -> str:
    if "\\" not in string and "'" not in string:  # hundreds of times as fast
        return string

    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code is None:
            return "'"
        if code[0] in "01234567":
            return chr(int(code, 8) & 0xFF)
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(one, string)
