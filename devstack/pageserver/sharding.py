"""Which shard a page belongs to, and which shards this server owns. Pure.

A shard index is written as four hex digits, number then count: `0104` is the second of four;
`0000` is the only shard of an unsharded tenant, `0001` the only shard of a sharded one.
"""

from dataclasses import dataclass

from devstack.pageserver.messages import INIT_FORK, Request

_MASK = 0xFFFF_FFFF
DEFAULT_STRIPE_SIZE = 2048  # blocks of 8 KiB


def murmurhash32(value: int) -> int:
    """The 32-bit finaliser of MurmurHash3."""
    value ^= value >> 16
    value = value * 0x85EBCA6B & _MASK
    value ^= value >> 13
    value = value * 0xC2B2AE35 & _MASK
    return value ^ value >> 16


def hash_combine(left: int, right: int) -> int:
    """Mix a second 32-bit hash into a first."""
    return left ^ (right + 0x9E3779B9 + (left << 6) + (left >> 2)) & _MASK


def shard_of_block(relnode: int, blkno: int, *, count: int, stripe_size: int) -> int:
    """The shard number of a relation's block. Tablespace, database and fork do not enter."""
    if count < 2:
        return 0
    mixed = hash_combine(murmurhash32(relnode), murmurhash32(blkno // stripe_size))
    return mixed % count


def shard_of_request(request: Request, *, count: int, stripe_size: int) -> int:
    """The shard that must answer: 0 for init forks and for all that is not a page."""
    if request.kind != "getpage" or request.rel.forknum == INIT_FORK:
        return 0
    return shard_of_block(request.rel.relnode, request.blkno, count=count, stripe_size=stripe_size)


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """The shards a server answers for.

    `numbers` None means every page, whatever the count; an empty set means the tenant is not here.
    """

    numbers: frozenset[int] | None
    count: int = 0
    stripe_size: int = DEFAULT_STRIPE_SIZE

    def owns(self, request: Request) -> bool:
        """Whether this server answers the request."""
        return self.numbers is None or self.shard(request) in self.numbers

    def shard(self, request: Request) -> int:
        """The number of the shard that must answer."""
        return shard_of_request(request, count=self.count, stripe_size=self.stripe_size)

    def index(self, number: int) -> str:
        """The index of one of our shards as text."""
        return f"{number:02x}{self.count:02x}"

    def describe(self) -> str | list[str]:
        """The form that `parse` takes."""
        if self.numbers is None:
            return "all"
        return [self.index(number) for number in sorted(self.numbers)] or "none"


def parse(shards: str | list[str], stripe_size: int = DEFAULT_STRIPE_SIZE) -> Ownership:
    """Read `all`, `none`, or indexes as a list or separated by commas. Raises ValueError."""
    if stripe_size < 1:
        raise ValueError(f'invalid stripe size "{stripe_size}"')
    words = shards.split(",") if isinstance(shards, str) else shards
    if words == ["all"]:
        return Ownership(numbers=None, stripe_size=stripe_size)
    if words in (["none"], []):
        return Ownership(numbers=frozenset(), stripe_size=stripe_size)
    pairs = [_index(word) for word in words]
    counts = {count for _, count in pairs}
    if len(counts) > 1:
        raise ValueError(f'shards of different counts: "{",".join(words)}"')
    return Ownership(
        numbers=frozenset(number for number, _ in pairs),
        count=counts.pop(),
        stripe_size=stripe_size,
    )


def _index(word: str) -> tuple[int, int]:
    if len(word) != 4 or not set(word.lower()) <= set("0123456789abcdef"):
        raise ValueError(f'invalid shard index "{word}"')
    number, count = int(word[:2], 16), int(word[2:], 16)
    if number >= max(count, 1):
        raise ValueError(f'shard number out of range in "{word}"')
    return number, count
