"""The servers that a spec names, in whichever of its fields. Pure.

The reference lets three fields name the pageservers, and settings stand in for most dedicated
fields. Here each question has one answer, already checked; a dedicated field wins over a setting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compute_common.document.spec import ComputeSpec, Pageserver, PageserverConnectionInfo
from compute_common.errors import SpecError
from compute_common.text import printable
from compute_ctl.document.conninfo import check_entry

CONNSTRING: Final = "neon.pageserver_connstring"
STRIPE_SIZE: Final = "neon.stripe_size"
SAFEKEEPERS: Final = "neon.safekeepers"
PRIMARY: Final = "primary_conninfo"
UPSTREAM_SETTINGS: Final = frozenset({CONNSTRING, STRIPE_SIZE, SAFEKEEPERS, PRIMARY})
"""The settings that say which other servers this one depends on."""

MAX_SHARDS: Final = 128
MAX_ENTRY_BYTES: Final = 255
MAX_CANDIDATES: Final = 16
"""Pageservers of one shard."""
_ID = re.compile(r"[0-9a-f]{32}")
_SHARD_INDEX = re.compile(r"[0-9a-fA-F]{4}")
_GENERATION_PREFIX = re.compile(r"g#[0-9]+:")


@dataclass(frozen=True, slots=True)
class Pageservers:
    """Where the pages are."""

    shards: tuple[str, ...]
    """A connection string for each shard, in the order of their numbers."""
    stripe_size: int | None
    """In pages; None where the spec does not say, which it may only for one shard."""
    others: tuple[tuple[str, ...], ...] = ()
    """Further pageservers of each shard, the preferred one first; () where none has any."""

    @property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        """All pageservers of each shard."""
        others = self.others or ((),) * len(self.shards)
        return tuple((one, *more) for one, more in zip(self.shards, others, strict=True))


@dataclass(frozen=True, slots=True)
class Identity:
    """Tenant and timeline of a compute; they never change."""

    tenant_id: str | None
    timeline_id: str | None


@dataclass(frozen=True, slots=True)
class SpecSetting:
    """A setting of the spec."""

    value: str
    path: str


def setting(spec: ComputeSpec, name: str) -> SpecSetting | None:
    """Return the last setting called *name* that has a value; case does not matter."""
    options = spec.cluster.settings or ()
    for index in range(len(options) - 1, -1, -1):
        value = options[index].value
        if options[index].name.lower() == name and value is not None:
            return SpecSetting(value, f"spec.cluster.settings[{index}].value")
    return None


def upstream_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Return those of *settings*, by lower-case name, that name other servers and are not empty."""
    return {name: value for name, value in settings.items() if value and name in UPSTREAM_SETTINGS}


def pageservers(spec: ComputeSpec) -> Pageservers | None:
    """Return where the pages are, None where the spec does not say (a stock server).

    Raises:
        SpecError: what it says cannot be used.
    """
    if spec.pageserver_connection_info is not None:
        return _from_connection_info(spec.pageserver_connection_info)
    if spec.pageserver_connstring is not None:
        path, stripe_path = "spec.pageserver_connstring", "spec.shard_stripe_size"
        return _from_list(spec.pageserver_connstring, path, spec.shard_stripe_size, stripe_path)
    found = setting(spec, CONNSTRING)
    if found is None:
        return None
    stripe = setting(spec, STRIPE_SIZE)
    if stripe is None:
        return _from_list(found.value, found.path, None, "spec.cluster.settings")
    if re.fullmatch(r"[0-9]{1,10}", stripe.value) is None:
        raise SpecError(stripe.path, f'expected a number of pages, got "{printable(stripe.value)}"')
    return _from_list(found.value, found.path, int(stripe.value), stripe.path)


def safekeepers(spec: ComputeSpec) -> str | None:
    """Return the value of ``neon.safekeepers``, None where the spec names none.

    Raises:
        SpecError: an entry is no ``host:port``, or stands there twice.
    """
    names, prefix = spec.safekeeper_connstrings, ""
    path = "spec.safekeeper_connstrings"
    if names:
        if spec.safekeepers_generation is not None:
            prefix = f"g#{spec.safekeepers_generation}:"
        paths = [f"{path}[{index}]" for index in range(len(names))]
    else:
        found = setting(spec, SAFEKEEPERS)
        if found is None or not found.value:
            return None
        match = _GENERATION_PREFIX.match(found.value)
        prefix = match[0] if match else ""
        names = tuple(found.value.removeprefix(prefix).split(","))
        path, paths = found.path, [found.path] * len(names)
    for index, name in enumerate(names):
        _check_safekeeper(name, paths[index])
        if name in names[:index]:
            raise SpecError(paths[index], f'duplicate safekeeper "{printable(name)}"')
    return prefix + ",".join(names)


def tenant_id(spec: ComputeSpec) -> str | None:
    """Return the tenant, 32 lower-case hex digits, None where the spec does not say."""
    return _identifier(spec, spec.tenant_id, "tenant_id")


def timeline_id(spec: ComputeSpec) -> str | None:
    """Return the timeline, 32 lower-case hex digits, None where the spec does not say."""
    return _identifier(spec, spec.timeline_id, "timeline_id")


def identity(spec: ComputeSpec) -> Identity:
    """Return which database the spec is for."""
    return Identity(tenant_id(spec), timeline_id(spec))


def _identifier(spec: ComputeSpec, value: str | None, name: str) -> str | None:
    path = f"spec.{name}"
    if value is None:
        found = setting(spec, f"neon.{name}")
        if found is None or not found.value:
            return None
        value, path = found.value, found.path
    if _ID.fullmatch(value.lower()) is None:
        raise SpecError(path, f'expected 32 hex digits, got "{printable(value)}"')
    return value.lower()


def _from_connection_info(info: PageserverConnectionInfo) -> Pageservers:
    path = "spec.pageserver_connection_info"
    by_index = {}
    for key, shard in info.shards.items():
        if _SHARD_INDEX.fullmatch(key) is None:
            raise SpecError(
                f"{path}.shards", f'expected four hex digits as key, got "{printable(key)}"'
            )
        by_index[key.lower()] = shard
    count = max(info.shard_count, 1)
    _check_count(count, f"{path}.shard_count")
    urls = []
    for number in range(count):
        index = f"{number:02x}{info.shard_count:02x}"
        shard_path = f"{path}.shards.{index}"
        if index not in by_index:
            raise SpecError(f"{path}.shards", f'shard "{index}" is missing')
        urls.append(_of_shard(by_index[index].pageservers, f"{shard_path}.pageservers"))
    stripe_size = _check_stripe(info.stripe_size, count, f"{path}.stripe_size")
    several = any(len(shard) > 1 for shard in urls)
    others = tuple(shard[1:] for shard in urls) if several else ()
    return Pageservers(tuple(shard[0] for shard in urls), stripe_size, others)


def _of_shard(servers: tuple[Pageserver, ...], path: str) -> tuple[str, ...]:
    if not servers:
        raise SpecError(path, "expected at least one pageserver")
    if len(servers) > MAX_CANDIDATES:
        raise SpecError(path, f"{len(servers)} pageservers exceed the limit of {MAX_CANDIDATES}")
    urls = [
        _entry(server.libpq_url, f"{path}[{index}].libpq_url")
        for index, server in enumerate(servers)
        if server.libpq_url
    ]
    if not urls:
        raise SpecError(f"{path}[0].libpq_url", "missing")
    return tuple(urls)


def _from_list(text: str, path: str, stripe_size: int | None, stripe_path: str) -> Pageservers:
    entries = text.removesuffix(",").split(",")
    _check_count(len(entries), path)
    shards = []
    for number, entry in enumerate(entries):
        if not entry.strip(" "):
            what = f"entry of shard {number} is empty" if len(entries) > 1 else "is empty"
            raise SpecError(path, what)
        shards.append(_entry(entry.strip(" "), path))
    return Pageservers(tuple(shards), _check_stripe(stripe_size, len(shards), stripe_path))


def _entry(text: str, path: str) -> str:
    check_entry(text, path=path)
    size = len(text.encode())
    if size > MAX_ENTRY_BYTES:
        raise SpecError(path, f"connection string has {size} bytes, more than {MAX_ENTRY_BYTES}")
    return text


def _check_count(count: int, path: str) -> None:
    if count > MAX_SHARDS:
        raise SpecError(path, f"{count} shards exceed the limit of {MAX_SHARDS}")


def _check_stripe(stripe_size: int | None, count: int, path: str) -> int | None:
    if stripe_size is None and count > 1:
        raise SpecError(path, f"missing: {count} shards need a stripe size")
    if stripe_size is not None and not 1 <= stripe_size <= 2**31 - 1:
        raise SpecError(path, f"stripe size {stripe_size} is not between 1 and {2**31 - 1}")
    return stripe_size


def _check_safekeeper(name: str, path: str) -> None:
    host, _, port = name.rpartition(":")
    good_port = re.fullmatch(r"[0-9]{1,5}", port) is not None and 1 <= int(port) <= 65535
    if not host or not good_port or re.search(r"[\s\x00-\x1f,'\"\\]", name):
        raise SpecError(path, f'expected host:port, got "{printable(name)}"')
