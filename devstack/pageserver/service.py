"""Answers requests as the reference does, including when it cannot.

The order of the checks is the reference's: the tenant, its timeline and shard; then the LSNs; then
the page. A page request and a metadata request see the same trouble in different ways (in the
stream, or as its end), which is why the kind of the request enters every refusal.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from devstack.pageserver import messages
from devstack.pageserver.messages import MAX_LSN, Request, format_lsn
from devstack.pageserver.pages import PageStore, StoreError
from devstack.pageserver.tenant import Tenant, TenantState
from devstack.pageserver.wire import ADMIN_SHUTDOWN, CONNECTION_FAILURE, INTERNAL_ERROR

NOT_FOUND = "not found"
_SLRU_KINDS = (0, 1, 2)
_OF_TIMELINE = Request(kind="dbsize", version=3, reqid=0, request_lsn=MAX_LSN, not_modified_since=0)
"""Queries about a whole timeline are refused as this request would be."""


class EndStream(Exception):  # noqa: N818 - an outcome of the protocol, not a defect
    """The stream ends with an ErrorResponse; `ready` adds ReadyForQuery, `close` a FIN."""

    def __init__(self, sqlstate: str, text: str, *, ready: bool, close: bool) -> None:
        super().__init__(f"{sqlstate} {text}")
        self.sqlstate = sqlstate
        self.text = text
        self.ready = ready
        self.close = close


class InBand(Exception):  # noqa: N818 - an outcome of the protocol, not a defect
    """The request fails with an in-band error; the stream goes on."""


def reconnect() -> EndStream:
    """The page belongs to another server."""
    return EndStream(CONNECTION_FAILURE, "reconnect", ready=False, close=True)


def shutdown() -> EndStream:
    """The server, tenant or timeline is stopping."""
    return EndStream(ADMIN_SHUTDOWN, "shutdown", ready=False, close=True)


def not_found() -> EndStream:
    """A metadata request for something that is not here."""
    return defect(NOT_FOUND)


def defect(text: str) -> EndStream:
    """Anything else that is wrong with a query or a request: the connection stays usable."""
    return EndStream(INTERNAL_ERROR, text, ready=True, close=False)


def timed_out() -> EndStream:
    """The client was silent for too long."""
    return EndStream(CONNECTION_FAILURE, "timed out", ready=True, close=True)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Waiting times in seconds; the defaults are the reference's."""

    idle: float = 600.0  # silence of a client
    activation: float = 50.9  # a tenant that is attaching
    lsn: float = 300.0  # WAL that has not arrived
    lease: float = 600.0  # for which the pages of an LSN are kept


@dataclass(kw_only=True)
class Served:
    """What was asked and answered so far."""

    requests: Counter[str] = field(default_factory=Counter)
    pages_by_shard: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    misrouted: int = 0


class Service:
    """Turns a request into the payload of its answer."""

    def __init__(self, tenant: Tenant, store: PageStore, limits: Limits) -> None:
        self.served = Served()
        self._tenant = tenant
        self._store = store
        self._limits = limits

    def reset(self) -> None:
        """Count from zero again."""
        self.served = Served()

    async def answer(self, request: Request, *, tenant: str, timeline: str) -> bytes:
        """The encoded answer for a stream of `tenant` and `timeline`. Raises InBand, EndStream."""
        self.served.requests[request.kind] += 1
        await self._find_timeline(request, tenant, timeline)
        await self._find_lsn(request)
        try:
            return messages.encode_answer(request, self._read(request))
        except StoreError as error:
            raise InBand("Read error") from error

    async def find_backup(self, tenant: str, timeline: str, lsn: int | None) -> Path:
        """Return the data directory to send, once the WAL has reached *lsn*. Raises EndStream."""
        self.served.requests["basebackup"] += 1
        await self._find_timeline(_OF_TIMELINE, tenant, timeline)
        held = self._tenant
        if lsn is not None and lsn < held.gc_cutoff:
            raise defect(f"invalid basebackup lsn: {format_lsn(lsn)} is behind the gc cutoff")
        if not await held.wait_for(lambda: held.last_record_lsn >= (lsn or 0), self._limits.lsn):
            raise defect(f"Timed out while waiting for WAL record at LSN {format_lsn(lsn or 0)}")
        return self._store.pgdata

    async def lease(self, tenant: str, timeline: str, lsn: int) -> float | None:
        """Grant a lease of *lsn*; return for how many seconds its pages are kept.

        None if garbage collection has removed them already. Raises EndStream.
        """
        self.served.requests["lease"] += 1
        await self._find_timeline(_OF_TIMELINE, tenant, timeline)
        return None if lsn < self._tenant.gc_cutoff else self._limits.lease

    async def _find_timeline(self, request: Request, tenant: str, timeline: str) -> None:
        held = self._tenant
        if tenant == held.tenant_id and held.state is TenantState.ATTACHING:
            await self._await_activation(request)
        is_page = request.kind == "getpage"
        away = held.state in (TenantState.DETACHED, TenantState.SECONDARY)
        if tenant != held.tenant_id or away or not held.ownership.owns(request):
            # the reference counts a page twice: once in the lookup, once in the refusal
            self.served.misrouted += 2 if is_page else 1
            raise reconnect() if is_page else not_found()
        match held.state:
            case TenantState.STOPPING:
                raise shutdown()
            case TenantState.TIMELINE_STOPPING:
                raise shutdown() if is_page else not_found()
            case TenantState.BROKEN:
                self._refuse(request, "Tenant is broken: broken by order", hidden=False)
            case _:
                pass
        if timeline != held.timeline_id or held.state is TenantState.TIMELINE_MISSING:
            shard = f"-{held.ownership.index(0)}" if held.ownership.count else ""
            self._refuse(request, f"Timeline {tenant}{shard}/{timeline} was not found", hidden=True)

    async def _await_activation(self, request: Request) -> None:
        held = self._tenant
        if await held.wait_for(
            lambda: held.state is not TenantState.ATTACHING, self._limits.activation
        ):
            return
        text = "Timed out waiting 5s for tenant active state. Latest state: Some(Attaching)"
        if request.kind == "getpage":
            raise InBand(f"Not found: {text}")
        raise EndStream(CONNECTION_FAILURE, text, ready=True, close=False)

    @staticmethod
    def _refuse(request: Request, text: str, *, hidden: bool) -> NoReturn:
        """Fail the way its kind sees it; `hidden`: a metadata request is not told the reason."""
        if request.kind == "getpage":
            raise InBand(f"Not found: {text}")
        raise not_found() if hidden else defect(text)

    async def _find_lsn(self, request: Request) -> None:
        held, asked, since = self._tenant, request.request_lsn, request.not_modified_since
        if asked < since:
            raise InBand(
                f"Bad request: invalid request with request LSN {format_lsn(asked)}"
                f" and not_modified_since {format_lsn(since)}"
            )
        if asked == 0:
            raise InBand("Bad request: invalid LSN(0) in request")
        if asked < held.gc_cutoff:
            raise InBand(
                "Bad request: tried to request a page version that was garbage collected."
                f" requested at {format_lsn(asked)} gc cutoff {format_lsn(held.gc_cutoff)}"
            )
        if not await held.wait_for(lambda: held.last_record_lsn >= since, self._limits.lsn):
            last = format_lsn(held.last_record_lsn)
            raise InBand(
                f"LSN timeout: Timed out while waiting for WAL record at LSN {format_lsn(since)}"
                f" to arrive, last_record_lsn {last} disk consistent LSN={last},"
                " WalReceiver status: Not active"
            )

    def _read(self, request: Request) -> bytes:
        match request.kind:
            case "exists":
                return messages.exists_body(self._store.exists(request.rel))
            case "nblocks":
                return messages.nblocks_body(self._store.nblocks(request.rel))
            case "dbsize":
                return messages.dbsize_body(self._store.db_size(request.dbnode))
            case "slru":
                if request.slru_kind not in _SLRU_KINDS:
                    raise InBand("Bad request: invalid SLRU kind")
                segment = self._store.slru_segment(request.slru_kind, request.segno)
                return messages.slru_body(segment)
            case "getpage":
                return self._page(request)

    def _page(self, request: Request) -> bytes:
        page = self._store.page(request.rel, request.blkno)
        owned = self._tenant.ownership
        self.served.pages += 1
        self.served.pages_by_shard[owned.index(owned.shard(request))] += 1
        return page
