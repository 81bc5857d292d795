"""Which settings of a candidate can be checked by setting them in a session. Pure.

The server checks a value by the same functions whether it comes from a file or a session, and a
session is at least as strict where the function looks at the value alone. Where it looks at other
settings, or the value would affect the trial itself, `postgres -C` has to check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from compute_common.errors import SpecError
from compute_ctl.document.body import changed_names
from compute_ctl.document.quoting import DIRECTIVES, setting_line, settings_in

MAX_SETTINGS: Final = 50
"""`postgres -C` is as fast for more."""
MAX_VALUE_CHARS: Final = 1000

_CORE: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_OF_LIBRARY: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")
_NOT_TRIED: Final = re.compile(
    # They act on the session or the transaction of the trial, or no file may set them.
    r"role|session_authorization|transaction_.*|seed|client_encoding|ssl_renegotiation_limit"
    # They exclude each other.
    r"|log_(statement|parser|planner|executor)_stats"
    # They are looked up in the catalogs, which may wait for the storage.
    r"|default_tablespace|temp_tablespaces|default_table_access_method|default_text_search_config"
)


def settings_to_try(proven: str, candidate: str) -> Mapping[str, str] | None:
    """Return the settings to try: those in which *candidate* differs from a *proven* text.

    Settings of libraries (`neon.*`) are left out; `postgres -C` does not check them either, as it
    loads no library. None: a trial cannot tell whether the server accepts *candidate*.
    """
    try:
        after = {line.name.lower(): line.value for line in settings_in(candidate, "rest")}
    except SpecError:
        return None
    changed = changed_names(proven, candidate)
    if changed & DIRECTIVES or not changed <= after.keys() or len(changed) > MAX_SETTINGS:
        return None
    if not _written_by_us(proven, candidate, changed):
        return None
    if not all(_may_be_tried(name, after[name]) for name in changed):
        return None
    return {name: after[name] for name in sorted(changed) if "." not in name}


def _written_by_us(proven: str, candidate: str, changed: frozenset[str]) -> bool:
    """Whether each new line sets a changed setting in the way `render` writes it.

    Then only values can be wrong.
    """
    known = set(proven.split("\n"))
    for line in candidate.split("\n"):
        if line in known:
            continue
        read = list(settings_in(line, "rest"))
        if len(read) != 1 or read[0].name not in changed:
            return False
        if line + "\n" != setting_line(read[0].name, read[0].value):
            return False
    return True


def _may_be_tried(name: str, value: str) -> bool:
    if _OF_LIBRARY.fullmatch(name):
        return True
    return (
        _CORE.fullmatch(name) is not None
        and _NOT_TRIED.fullmatch(name) is None
        and value.isascii()  # otherwise it depends on the encoding of the database
        and len(value) <= MAX_VALUE_CHARS
    )
