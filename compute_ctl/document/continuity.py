"""Changes that a document may not make to a running compute. Pure.

A document that is half written, or misspelt, looks like one that wants less. So what a live compute
has (its identity and the servers it depends on) is never removed because a document does not
mention it. Detach is said by `empty`, the promotion of a standby by ``"mode": "Primary"``; anything
else takes a person on the machine (``compute_ctl refresh --force``).

Safekeepers have a generation of their own, which never goes backwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compute_common.document.document import Document
from compute_common.document.spec import ComputeSpec
from compute_common.errors import SpecError
from compute_ctl.document.candidates import Candidates
from compute_ctl.document.spec_sources import (
    CONNSTRING,
    PRIMARY,
    SAFEKEEPERS,
    tenant_id,
    timeline_id,
)

_FIELDS: Final = {
    CONNSTRING: ("spec.pageserver_connection_info", "pageservers"),
    SAFEKEEPERS: ("spec.safekeeper_connstrings", "safekeepers"),
    PRIMARY: ("spec.cluster.settings", "primary_conninfo"),
}
_WAY_OUT: Final = 'only "compute_ctl refresh --force" takes it away'
_SAFEKEEPERS: Final = re.compile(r"(?:g#(?P<generation>[0-9]+):)?(?P<names>.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """What a compute has, as its configuration file says."""

    tenant: str | None = None
    timeline: str | None = None
    servers: Mapping[str, str]
    """The settings that name other servers and are not empty, by lower-case name."""
    candidates: Candidates | None = None
    """The pageservers among them."""
    mode: str | None = None
    """What the document in force says of its mode; None where it says nothing."""


def check_identity(spec: ComputeSpec, live: Live) -> None:
    """Refuse another tenant or timeline. Raises SpecError."""
    for name, known, new in (
        ("tenant_id", live.tenant, tenant_id(spec)),
        ("timeline_id", live.timeline, timeline_id(spec)),
    ):
        if known is not None and new is not None and known != new:
            reason = f'this compute belongs to "{known}", the document to "{new}"'
            raise SpecError(f"spec.{name}", reason)


def check_mode(document: Document, live: Live, *, is_primary: bool) -> None:
    """Refuse a document of a standby where the document in force has made a primary of it.

    *is_primary*: whether the cluster is that of a primary, whose server need not run. A source that
    has not heard of a promotion must not take the settings of the primary away. Raises SpecError.
    """
    if is_primary and live.mode == "Primary" and document.mode == "Replica":
        reason = "Replica, but this compute is a primary now"
        hint = "Publish the document of the primary."
        raise SpecError("spec.mode", reason, hint=hint)


def check_promoting(document: Document, *, promoting: bool) -> None:
    """Refuse a document of a standby while the compute gets the settings of a primary.

    Who has it applied all the same would have a primary with those of a standby. Raises SpecError.
    """
    if promoting and document.mode == "Replica":
        raise SpecError("spec.mode", "Replica, but this compute is being promoted")


def check_omissions(
    document: Document, servers: Mapping[str, str], live: Live, *, promotes: bool = False
) -> None:
    """Refuse a document that lacks what the compute has.

    *servers*: the settings of the document that name other servers, as in `Live`. *promotes*: the
    document of a primary for what is one, or is to be: it need not name a primary.

    Raises:
        SpecError: it lacks tenant, timeline, pageservers, safekeepers, or the primary of a standby.
    """
    spec = document.spec
    for name, known, new in (
        ("tenant_id", live.tenant, tenant_id(spec)),
        ("timeline_id", live.timeline, timeline_id(spec)),
    ):
        if known is not None and new is None:
            reason = f'missing, but this compute belongs to "{known}" ({_WAY_OUT})'
            raise SpecError(f"spec.{name}", reason)
    for name, (path, what) in _FIELDS.items():
        told = promotes or (document.mode == "Primary" and live.mode != "Primary")
        promoted = name == PRIMARY and told
        if live.servers.get(name) and not servers.get(name) and not promoted:
            raise SpecError(path, f"names no {what}, but this compute has some ({_WAY_OUT})")


def older_safekeepers(servers: Mapping[str, str], live: Live) -> str | None:
    """Return why the safekeepers among *servers* are older than those in force, None if not."""
    new, old = servers.get(SAFEKEEPERS), live.servers.get(SAFEKEEPERS)
    if not new or not old:
        return None
    known, known_names = _split(old)
    generation, names = _split(new)
    if generation < known:
        return f"safekeepers_generation {generation} is older than {known}"
    if generation == known > 0 and names != known_names:
        return f"safekeepers_generation {generation} is known with other safekeepers"
    return None


def _split(value: str) -> tuple[int, frozenset[str]]:
    """Return generation (0 for none) and names of a value of ``neon.safekeepers``."""
    match = _SAFEKEEPERS.fullmatch(value)
    if match is None:
        return 0, frozenset()
    return int(match["generation"] or 0), frozenset(match["names"].split(","))
