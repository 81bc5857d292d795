"""The bodies of the HTTP API that tell of a request. Pure."""

from __future__ import annotations

from msgspec import UNSET

from compute_common.redact import redact
from compute_ctl.decisions.model import GOOD_OUTCOMES, Outcome, Ticket
from compute_ctl.decisions.status import RefreshBody, StatusBody
from compute_ctl.decisions.transitions import Status


def refresh_body(status: Status, ticket: Ticket) -> RefreshBody:
    """Return the receipt for a refresh request."""
    return RefreshBody(status=status, refresh_id=ticket.refresh_id, coalesced=ticket.coalesced)


def outcome_body(status: StatusBody, ticket: Ticket, outcome: Outcome) -> RefreshBody:
    """Return the receipt for a refresh request that somebody has waited for, with its outcome."""
    failed = outcome not in GOOD_OUTCOMES
    ended = status.refresh.last_attempt
    why = status.error or (ended.reason if ended is not None else "")
    reason = why if failed else status.config.not_in_force or status.config.not_kept
    return RefreshBody(
        status=status.status,
        refresh_id=ticket.refresh_id,
        coalesced=ticket.coalesced,
        outcome=outcome,
        in_sync=status.config.in_sync,
        proof=status.config.proof,
        reason=redact(reason) if reason else UNSET,
    )
