"""The body of a configuration file, all but its marker line, read back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from compute_common.errors import SpecError
from compute_ctl.document.candidates import Candidates
from compute_ctl.document.quoting import DIRECTIVES, settings_in
from compute_ctl.document.spec_sources import CONNSTRING, SAFEKEEPERS, STRIPE_SIZE, upstream_of
from compute_ctl.document.upstream import DEFAULT_STRIPE_SIZE

UPSTREAM_BEGIN: Final = "# upstream: the servers that this one depends on\n"


def split_body(body: str) -> tuple[str, str]:
    """Return rest and upstream part of a *body* made here; the second is empty in a foreign one."""
    at = body.rfind("\n" + UPSTREAM_BEGIN) + 1
    if at == 0 and not body.startswith(UPSTREAM_BEGIN):
        return body, ""
    return body[:at], body[at:]


def changed_names(old: str, new: str) -> frozenset[str]:
    """Return the names of settings, and of directives, that differ between two texts."""
    if old == new:
        return frozenset()
    before, after = _lines_by_name(old), _lines_by_name(new)
    names = before.keys() | after.keys()
    return frozenset(name for name in names if before.get(name) != after.get(name))


def _lines_by_name(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with suppress(SpecError):
        for line in settings_in(text, "rest"):
            values = found.setdefault(line.name.lower(), [])
            if line.name.lower() not in DIRECTIVES:
                values.clear()  # the last one counts
            values.append(line.value)
    return found


def log_is_elsewhere(body: str, *, attach: bool) -> bool:
    """Whether Neon's library may keep the log: then only the safekeepers know where it ends.

    In attach mode a *body* that names safekeepers but no libraries leaves that open: the latter are
    set elsewhere.
    """
    found = Body.read(body)
    loads = "neon" in found.preload or (attach and not found.preload)
    return SAFEKEEPERS in found.names and loads


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """What a body says that was written here, perhaps by an earlier daemon or as a fallback."""

    rest: str
    upstream: str
    candidates: Candidates
    stripe_size: int
    names: frozenset[str]
    servers: Mapping[str, str]
    """The settings that name other servers and are not empty."""
    included: frozenset[str] = frozenset()
    """The files and folders that its rest includes."""
    tenant_id: str | None = None
    timeline_id: str | None = None
    preload: tuple[str, ...] = ()
    """The libraries that the server loads at its start."""
    mode: str = "primary"
    """``primary``, ``replica`` or ``static``."""
    target_lsn: str | None = None
    """The point of the log that a static compute is pinned to."""

    @property
    def shards(self) -> tuple[str, ...]:
        """Connection string of the pageserver in use of each shard; () for none."""
        return self.candidates.in_use

    @classmethod
    @lru_cache(maxsize=2)
    def read(cls, body: str) -> Body:
        """Read *body*, which need not be intact: what is unreadable counts as not there."""
        rest, upstream = split_body(body)
        found: dict[str, str] = {}
        included = set()
        with suppress(SpecError):
            for line in settings_in(rest, "rest"):
                found[line.name.lower()] = line.value
                if line.name.lower() in DIRECTIVES:
                    included.add(line.value)
        names = found.keys() - DIRECTIVES
        servers: dict[str, str] = {}
        with suppress(SpecError):
            servers.update((line.name, line.value) for line in settings_in(upstream, "upstream"))
        shards, stripe_size = servers.get(CONNSTRING), servers.get(STRIPE_SIZE, "")
        return cls(
            rest=rest,
            upstream=upstream,
            candidates=Candidates.read(tuple(shards.split(",")) if shards else (), upstream),
            stripe_size=int(stripe_size) if stripe_size.isdecimal() else DEFAULT_STRIPE_SIZE,
            names=frozenset(names | servers.keys()),
            servers=upstream_of({**found, **servers}),
            included=frozenset(included),
            tenant_id=found.get("neon.tenant_id"),
            timeline_id=found.get("neon.timeline_id"),
            mode=found.get("neon.compute_mode", "primary"),
            target_lsn=found.get("recovery_target_lsn"),
            preload=tuple(
                name.strip().strip('"')
                for name in found.get("shared_preload_libraries", "").split(",")
                if name.strip()
            ),
        )
