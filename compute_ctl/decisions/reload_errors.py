"""What the postmaster could not reload, and whether the document is to blame. Pure.

When the reload of TLS files, pg_hba.conf or pg_ident.conf fails, the old ones stay in force, and
the next start may fail. No view shows it; only the postmaster's log and the library's hook do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.document.quoting import DIRECTIVES


class Part(StrEnum):
    """What a reload reads beside the settings; API (`not_reloaded` of an acknowledgement)."""

    SSL = "ssl"
    HBA = "hba"
    IDENT = "ident"


SAID: Final = {
    Part.SSL: "SSL configuration was not reloaded",
    Part.HBA: "pg_hba.conf was not reloaded",
    Part.IDENT: "pg_ident.conf was not reloaded",
}
_NAMES: Final = {Part.SSL: "ssl", Part.HBA: "hba_file", Part.IDENT: "ident_file"}
_DEPENDS_ON: Final = {
    Part.SSL: frozenset[str](),
    Part.HBA: frozenset({"hba_file", "ssl", "db_user_namespace", "krb_server_keyfile"}),
    Part.IDENT: frozenset({"ident_file"}),
}
"""Settings that can make the reload of a part fail; for TLS also all that begin with ssl."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReloadError:
    """A part that the postmaster did not reload."""

    part: Part
    text: str
    """Its message, with the reason where that is known."""
    marker: str | None = None
    """Of the generation that it had read; None: unknown."""


def is_blamed(part: Part, changed: frozenset[str]) -> bool:
    """Whether a document that *changed* these settings is to blame for *part*.

    Otherwise a file of the operator is broken, with which the document has nothing to do.
    """
    if changed & (DIRECTIVES | _DEPENDS_ON[part]):
        return True
    return part is Part.SSL and any(name.startswith("ssl") for name in changed)


def judged(
    verdict: Verdict,
    heard: Mapping[Part, str],
    *,
    before: frozenset[Part],
    changed: frozenset[str],
) -> Verdict:
    """Return *verdict* with the reload errors *heard*.

    An error is evidence against the generation if that *changed* a setting it depends on, and the
    reload *before* did not fail in the same way; else it is shown as drift.
    """
    if not heard:
        return verdict
    bad, shown = list(verdict.bad), list(verdict.shadowed)
    for part, text in heard.items():
        blamed = part not in before and is_blamed(part, changed)
        (bad if blamed else shown).append(Complaint(name=_NAMES[part], reason=text))
    proof = verdict.proof
    if len(bad) > len(verdict.bad) and proof is Proof.FULL:
        proof = Proof.NONE
    return replace(verdict, proof=proof, bad=tuple(bad), shadowed=tuple(shown))
