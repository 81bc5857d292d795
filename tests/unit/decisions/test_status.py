"""What is said of a refresh request, and of an error."""

import json

from compute_common.http.bodies import encode, error_body
from compute_ctl.decisions.model import Outcome, Ticket
from compute_ctl.decisions.proof import Proof
from compute_ctl.decisions.status import RefreshBody
from compute_ctl.decisions.transitions import Status
from tests.unit.snapshots import having


def test_receipt_is_one_short_line() -> None:
    """The answer to a refresh fits on a line that Postgres's client can print."""
    ticket = Ticket(refresh_id=1, coalesced=False)
    expected = b'{"status":"running","refresh_id":1,"coalesced":false}\n'
    assert expected == encode(RefreshBody.receipt(Status.RUNNING, ticket))


def test_receipt_with_outcome() -> None:
    """A good outcome needs no reason, a bad one has it."""
    ticket = Ticket(refresh_id=1, coalesced=True)
    found = having(error="why", config={"in_sync": True, "proof": Proof.FULL})
    good = json.loads(encode(RefreshBody.of(found, ticket, Outcome.APPLIED)))
    assert ("applied", True, "full") == (good["outcome"], good["in_sync"], good["proof"])
    assert "reason" not in good
    bad = json.loads(encode(RefreshBody.of(found, ticket, Outcome.REJECTED)))
    assert ("rejected", "why") == (bad["outcome"], bad["reason"])


def test_receipt_of_what_is_not_in_force() -> None:
    """A good outcome of a look at the document does not hide that something else runs."""
    ticket = Ticket(refresh_id=1, coalesced=True)
    found = having(config={"not_in_force": "primary_conninfo: overridden"})
    body = json.loads(encode(RefreshBody.of(found, ticket, Outcome.UNCHANGED)))
    assert ("unchanged", False, "none") == (body["outcome"], body["in_sync"], body["proof"])
    assert "primary_conninfo: overridden" == body["reason"]


def test_errors() -> None:
    """An error is its text, and a hint only where there is one."""
    assert b'{"error":"no"}\n' == encode(error_body("no"))
    assert b'{"error":"no","hint":"do this"}\n' == encode(error_body("no", "do this"))


def test_errors_hide_secrets() -> None:
    """What a source or a server says in its error may hold a password."""
    assert b'{"error":"no: password=********"}\n' == encode(error_body("no: password=x"))
