"""Asks a pageserver for a lease. Blocking: for a thread."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from compute_ctl.decisions.lsn_lease import LeaseRequest
from compute_ctl.document.conninfo import parse
from compute_ctl.errors import LeaseRefusedError, ProbeError
from compute_ctl.sql.session import PgSession


def grant(request: LeaseRequest, *, token: str | None, within_s: float) -> datetime:
    """Return until when the pageserver keeps what *request* names. *token*: the storage token.

    Raises:
        LeaseRefusedError: it has removed that already.
        ProbeError: it has not answered, or not with a lease.
    """
    server = f"pageserver {parse(request.server).address or 'without a host'}"
    session = PgSession(
        request.server,
        time.monotonic() + within_s,
        options={"neon.compute_mode": "static"},
        password=token,
        peer=server,
    )
    try:
        session.connect()
        rows = session.query(request.command)
    finally:
        session.close()
    match rows:
        case [(None,)]:
            raise LeaseRefusedError(
                f"{server} refuses a lease of {request.lsn}: the pages of that point are removed"
            )
        case [(str(until),)] if until.isdecimal():
            return datetime.fromtimestamp(int(until) / 1000, UTC)
        case _:
            raise ProbeError(f"{server} answered a request for a lease with something else")
