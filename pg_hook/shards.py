"""The shard map: list of conninfos, and which shard a block belongs to."""

from dataclasses import dataclass
from typing import Any

from pg_hook._pg_hook import ffi, lib
from pg_hook.errors import c_text, check, py_text

DEFAULT_STRIPE_SIZE: int = lib.PGH_DEFAULT_STRIPE_SIZE


@dataclass(frozen=True, kw_only=True)
class ShardMap:
    """A parsed list; no endpoints means "not configured"."""

    endpoints: tuple[str, ...]
    """Conninfos, index = shard number."""
    stripe_size: int
    """Pages of 8 KiB that lie on one shard in a row."""
    text: str
    """The canonical list."""


def parse_shard_map(text: str, *, stripe_size: int = DEFAULT_STRIPE_SIZE) -> ShardMap:
    """Parse a comma-separated list of conninfos.

    Raises:
        HookError: an entry is empty, too long or has a control character (``.detail`` says
            which), there are more than 128, or the stripe size is 0.

    """
    action = "parse list of shards"
    parsed = ffi.new("struct pgh_shard_map *")
    bad = ffi.new("uint32_t *")
    code = lib.pgh_shard_map_parse(c_text(text, action), stripe_size, parsed, bad)
    check(code, action, f"entry {bad[0]}" if code != lib.PGH_ERR_STRIPE_SIZE else "")
    return ShardMap(
        endpoints=tuple(py_text(parsed.endpoint[i]) for i in range(parsed.shard_count)),
        stripe_size=parsed.stripe_size_pages,
        text=_canonical(parsed),
    )


def _canonical(parsed: Any) -> str:  # a C pointer has no Python type
    out = ffi.new("char[]", lib.PGH_SHARD_LIST_SIZE)
    check(lib.pgh_shard_map_text(parsed, out, len(out), ffi.NULL), "write list of shards")
    return py_text(out)


def shard_of_block(
    rel_number: int, block: int, *, shard_count: int, stripe_size: int = DEFAULT_STRIPE_SIZE
) -> int:
    """Return the shard that a block of a relation belongs to."""
    shard: int = lib.pgh_shard_of_block(rel_number, block, shard_count, stripe_size)
    return shard
