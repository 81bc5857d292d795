"""The configuration of a standby that is being promoted, and the document of the primary. Pure.

Before a standby is promoted it gets all settings of the primary, except that it goes on following:
safekeepers and `synchronous_standby_names` are right at the first commit of the new primary, and
where the promotion fails, the standby still has its old primary.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from compute_common.document.document import Document
from compute_common.errors import SpecError
from compute_ctl.document.body import split_body
from compute_ctl.document.quoting import setting_line, settings_in
from compute_ctl.document.spec_sources import PRIMARY

FOLLOWING: Final = (PRIMARY, "primary_slot_name")
"""The settings by which a standby follows its primary."""
_LSN: Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def parse_lsn(text: str) -> int:
    """Return a position of the log, written like ``0/1696F10``. Raises ValueError."""
    match = _LSN.fullmatch(text)
    if match is None:
        raise ValueError("expected a position of the log, like 0/1696F10")
    return (int(match[1], 16) << 32) + int(match[2], 16)


def following_body(body: str, live: str) -> str:
    """Return *body*, that of a primary, so that a standby with *live* follows whom it follows.

    Raises:
        SpecError: one of them is unreadable.
    """
    wanted, now = _settings(body), _settings(live)
    kept = {
        name: now[name] for name in FOLLOWING if now.get(name) and now[name] != wanted.get(name)
    }
    return body + "".join(setting_line(name, value) for name, value in kept.items())


def is_following_body(body: str, live: str) -> bool:
    """Whether *live* is *body* of a primary, made to follow: a promotion has not ended.

    Its servers may be others by now.
    """
    try:
        same = split_body(body)[0] == split_body(live)[0]
        return same and following_body(body, live) != body
    except SpecError:
        return False


def _settings(body: str) -> dict[str, str]:
    return {line.name.lower(): line.value for line in settings_in(body, "configuration")}


def promoted_document(document: Document) -> bytes:
    """Return the JSON of *document*, of a standby, as that of the primary it becomes."""
    parts: dict[str, Any] = msgspec.json.decode(document.json)
    spec = parts["spec"] | {"mode": "Primary"}
    cluster = spec.get("cluster") or {}
    if settings := cluster.get("settings"):
        left = [one for one in settings if one["name"].lower() not in FOLLOWING]
        spec["cluster"] = cluster | {"settings": left}
    return msgspec.json.encode(parts | {"spec": spec})
