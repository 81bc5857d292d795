"""What the postmaster could not reload, and whether the document is to blame."""

import pytest

from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.decisions.reload_errors import SAID, Part, is_blamed, judged

FULL = Verdict(proof=Proof.FULL)
HEARD = {Part.SSL: SAID[Part.SSL]}


@pytest.mark.parametrize(
    ("part", "changed", "blamed"),
    [
        (Part.SSL, {"ssl", "work_mem"}, True),
        (Part.SSL, {"ssl_cert_file"}, True),
        (Part.SSL, {"work_mem"}, False),
        (Part.SSL, {"include"}, True),
        (Part.HBA, {"hba_file"}, True),
        (Part.HBA, {"ident_file", "work_mem"}, False),
        (Part.IDENT, {"ident_file"}, True),
        (Part.IDENT, set(), False),
    ],
)
def test_only_what_it_depends_on_is_blamed(part: Part, changed: set[str], *, blamed: bool) -> None:
    """A broken file of the operator is no fault of a document that left it alone."""
    assert blamed == is_blamed(part, frozenset(changed))


def test_evidence_against_the_settings() -> None:
    """They are refused, whatever the views say."""
    verdict = judged(FULL, HEARD, before=frozenset(), changed=frozenset({"ssl"}))
    assert (True, Proof.NONE) == (verdict.rejected, verdict.proof)


@pytest.mark.parametrize(
    ("before", "changed"), [(frozenset({Part.SSL}), {"ssl"}), (frozenset(), {"work_mem"})]
)
def test_what_is_not_new_or_not_ours_is_drift(before: frozenset[Part], changed: set[str]) -> None:
    """It is shown, and refuses nothing."""
    verdict = judged(FULL, HEARD, before=before, changed=frozenset(changed))
    assert (False, Proof.FULL) == (verdict.rejected, verdict.proof)
    (shown,) = verdict.shadowed
    assert ("ssl", "SSL configuration was not reloaded") == (shown.name, shown.reason)
