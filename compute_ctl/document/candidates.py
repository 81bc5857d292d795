"""The pageservers that a document names for each shard, of which one is in use. Pure.

The server takes one connection string for a shard. So the configuration file lists the others in
comments, and the daemon writes another one where Postgres complains of the one in use. What is in
use stays until Postgres complains of it, or a document names others or prefers another: one that
has come back is no reason to move.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from compute_ctl.document.quoting import setting_line
from compute_ctl.document.spec_sources import CONNSTRING

_COMMENT: Final = re.compile(r"^# pageservers of shard ([0-9]{1,3}): (.*)$", re.MULTILINE)
_CONNSTRING: Final = re.compile(rf"^{re.escape(CONNSTRING)} = .*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Connection strings without passwords, by shard."""

    in_use: tuple[str, ...] = ()
    named: tuple[tuple[str, ...], ...] = ()
    """All of them, in the order of the document."""

    @classmethod
    def choose(cls, named: tuple[tuple[str, ...], ...], live: Candidates | None) -> Candidates:
        """Return *named* with the first of each shard in use, or that of the *live* file.

        The latter where that file was written for the same list.
        """
        if live is None or len(live.named) != len(named):
            return cls(tuple(shard[0] for shard in named), named)
        pairs = zip(named, live.named, live.in_use, strict=True)
        return cls(tuple(used if shard == old else shard[0] for shard, old, used in pairs), named)

    @classmethod
    def read(cls, in_use: tuple[str, ...], upstream: str) -> Candidates:
        """Return what the upstream part of a file says, which uses *in_use*."""
        named = {int(found[1]): tuple(found[2].split(",")) for found in _COMMENT.finditer(upstream)}
        lists = [
            shard if one in (shard := named.get(number, ())) else (one,)
            for number, one in enumerate(in_use)
        ]
        return cls(in_use, tuple(lists))

    @property
    def comments(self) -> str:
        """Lines of the file that list the pageservers of those shards that have several."""
        return "".join(
            f"# pageservers of shard {number}: {','.join(shard)}\n"
            for number, shard in enumerate(self.named)
            if len(shard) > 1
        )

    def using(self, instead: Mapping[int, str]) -> Candidates:
        """Return these with others in use, given by shard."""
        in_use = (instead.get(number, one) for number, one in enumerate(self.in_use))
        return replace(self, in_use=tuple(in_use))

    def written_to(self, upstream: str) -> str:
        """Return *upstream*, the part of a file with the same lists, with those in use now."""
        line = setting_line(CONNSTRING, ",".join(self.in_use))
        return _CONNSTRING.sub(lambda _: line, upstream)

    def others(self, number: int) -> tuple[str, ...]:
        """Return those of a shard that are not in use, in the order in which they are tried."""
        shard = self.named[number]
        at = shard.index(self.in_use[number])
        return shard[at + 1 :] + shard[:at]
