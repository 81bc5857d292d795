"""The upstream part of a configuration: the servers this one depends on. Pure.

It stands last in the file, so that nothing before it overrides it, and stripe size before list,
since the server publishes both when it meets the list. Postgres logs changed values, so passwords
are taken out of the list and become the storage token, which reaches the server by a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from compute_common.document.spec import ComputeSpec
from compute_ctl.document import spec_sources
from compute_ctl.document.candidates import Candidates
from compute_ctl.document.conninfo import parse, without_password
from compute_ctl.document.quoting import check_value
from compute_ctl.document.spec_sources import CONNSTRING, PRIMARY, SAFEKEEPERS, STRIPE_SIZE

DEFAULT_STRIPE_SIZE: Final = 2048
"""In pages: the server's own default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """The settings that name other servers."""

    settings: dict[str, str]
    """In the order in which they must stand."""
    candidates: Candidates
    storage_token: str | None
    """Token with which Postgres logs in to its pageservers; a secret."""
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, spec: ComputeSpec, live: Candidates | None = None) -> Upstream:
        """Return the upstream part of *spec*; *live*: see `Candidates.choose`. Raises SpecError."""
        settings: dict[str, str] = {}
        warnings: list[str] = []
        candidates = Candidates()
        passwords: dict[str, None] = {}
        stripe_size = DEFAULT_STRIPE_SIZE
        found = spec_sources.pageservers(spec)
        if found is not None:
            stripped = [[without_password(one) for one in shard] for shard in found.candidates]
            named = tuple(tuple(dict.fromkeys(one for one, _ in shard)) for shard in stripped)
            candidates = Candidates.choose(named, live)
            passwords = {word: None for shard in stripped for _, word in shard if word}
            stripe_size = found.stripe_size or DEFAULT_STRIPE_SIZE
            settings[STRIPE_SIZE] = str(stripe_size)
            settings[CONNSTRING] = ",".join(candidates.in_use)
            _warn_contradiction(spec, CONNSTRING, (",".join(found.shards),), warnings)
            _warn_contradiction(spec, STRIPE_SIZE, (str(stripe_size),), warnings)
        safekeepers = spec_sources.safekeepers(spec)
        if safekeepers is not None:
            settings[SAFEKEEPERS] = safekeepers
            bare = ",".join(spec.safekeeper_connstrings)
            _warn_contradiction(spec, SAFEKEEPERS, (safekeepers, bare), warnings)
        elif spec.mode == "Primary" and _has_neon(spec, candidates):
            warnings.append("a primary without safekeepers")
        primary = spec_sources.setting(spec, PRIMARY)
        if primary is not None:
            parse(primary.value, path=primary.path)
            settings[PRIMARY] = primary.value
        return cls(
            settings=settings,
            candidates=candidates,
            storage_token=_token(spec, list(passwords), warnings),
            warnings=tuple(warnings),
        )


def _has_neon(spec: ComputeSpec, candidates: Candidates) -> bool:
    """Return whether *spec* is for a server of Neon's storage, not for a stock one."""
    return bool(candidates.in_use) or spec_sources.tenant_id(spec) is not None


def _token(spec: ComputeSpec, passwords: list[str], warnings: list[str]) -> str | None:
    """Return the storage token; the dedicated field wins over a password in a connection string."""
    token = spec.storage_auth_token
    if token is not None:
        check_value(token, "spec.storage_auth_token")
    if passwords:
        warnings.append("a pageserver's connection string holds a password: moved to the token")
        check_value(passwords[0], "the password in a pageserver's connection string")
        if any(password != (token or passwords[0]) for password in passwords):
            warnings.append("the pageservers' passwords and the storage token differ: one counts")
    return token or (passwords[0] if passwords else None)


def _warn_contradiction(
    spec: ComputeSpec, name: str, accepted: tuple[str, ...], warnings: list[str]
) -> None:
    found = spec_sources.setting(spec, name)
    if found is not None and found.value.removesuffix(",") not in accepted:
        warnings.append(f'{found.path}: setting "{name}" contradicts its dedicated field: ignored')
