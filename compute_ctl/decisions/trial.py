"""Which settings of a candidate can be judged by trying them in a session. Pure.

The server's binary reads the whole file and judges each value by the same functions as a session
does that sets it. A session is at least as strict as the file wherever the function looks at the
value alone. Where it looks at other settings, or the new value would act on the trial itself, the
binary is left to judge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from compute_ctl.document.body import changed_names
from compute_ctl.document.quoting import DIRECTIVES, setting_line, settings_in
from compute_ctl.errors import SpecError

MAX_SETTINGS: Final = 50
"""Of more the binary judges as quickly."""
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
    """Return the settings in which *candidate* differs from a *proven* text, to be tried.

    Settings of libraries (`neon.*`) are left out, as the binary does not judge them either: it
    loads none. None: whether the server takes *candidate* cannot be found out by trying.
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
    """Whether each line that is new sets a changed setting, in the way that `render` writes it.

    Then nothing but the values can be wrong with it.
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
        and value.isascii()  # else what a session is given depends on its database's encoding
        and len(value) <= MAX_VALUE_CHARS
    )
