"""Serves one client: drives its session, strikes the faults that are ordered, answers the requests.

Every wait ends when the client leaves. `interrupt` ends the connection from outside.
"""

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import Coroutine
from typing import Any, Literal

from devstack.pageserver import messages, service, wire
from devstack.pageserver.context import Context
from devstack.pageserver.faults import Fault
from devstack.pageserver.link import FLUSH_SECONDS, Link, LinkLost
from devstack.pageserver.mangle import mangle, refuse_by_order
from devstack.pageserver.queries import answer_query
from devstack.pageserver.service import EndStream, InBand
from devstack.pageserver.session import (
    BackupQuery,
    EncryptionRequested,
    Event,
    LeaseQuery,
    OtherQuery,
    Payload,
    Phase,
    Session,
    Startup,
    Stray,
    StreamQuery,
    Terminate,
    Token,
)
from devstack.pageserver.tokens import ANYBODY, TokenError, check_token

Farewell = Literal["fin", "rst", "timed_out", "shutdown"]
BAD_TOKEN = "JWT authentication error"

log = logging.getLogger(__name__)


class Finished(Exception):  # noqa: N818 - the normal end of a connection
    """This connection is over."""


class Connection:
    """One client from accept to the end; `run` is its whole life."""

    def __init__(self, number: int, link: Link, context: Context) -> None:
        self.number = number
        self.requests = 0
        self.busy = False  # a request was read and is not answered
        self._link = link
        self._context = context
        self._session = Session()
        self._claims = ANYBODY
        self._params: dict[str, str] = {}
        self._farewell: asyncio.Future[Farewell] = asyncio.get_running_loop().create_future()

    def describe(self) -> dict[str, Any]:
        """The connection as JSON."""
        stream = self._session.stream
        return {
            "id": self.number,
            "peer": self._link.peer,
            "phase": self._session.phase.value,
            "application_name": self._params.get("application_name"),
            "compute_mode": wire.compute_mode(self._params.get("options", "")),
            "version": stream.version if stream else None,
            "requests": self.requests,
        }

    @property
    def streaming(self) -> bool:
        """Whether it is in a page stream."""
        return self._session.phase is Phase.STREAM

    def interrupt(self, farewell: Farewell) -> None:
        """End it, whatever it does."""
        if not self._farewell.done():
            self._farewell.set_result(farewell)

    def abort(self) -> None:
        """Cut it without a word."""
        self._link.abort()

    async def run(self) -> None:
        """Serve until the client leaves, the protocol is broken, or `interrupt`."""
        try:
            await self._until_farewell(self._serve())
        except (Finished, LinkLost):
            pass
        except wire.WireError as error:
            log.info("connection %d dropped: %s", self.number, error)
        finally:
            self._link.finish()

    async def _until_farewell(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"connection-{self.number}-serve")
        gone = asyncio.create_task(self._link.ended(), name=f"connection-{self.number}-gone")
        waits: set[asyncio.Future[Any]] = {task, gone, self._farewell}
        try:
            await asyncio.wait(waits, return_when=FIRST_COMPLETED)
            if gone.done():
                # what the client sent before it left is still served, but not for long
                await asyncio.wait(
                    waits - {gone}, timeout=FLUSH_SECONDS, return_when=FIRST_COMPLETED
                )
        finally:
            gone.cancel()
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        elif self._farewell.done():
            await self._say(self._farewell.result())

    async def _say(self, farewell: Farewell) -> None:
        if farewell == "rst":
            self._link.reset()
        elif farewell == "shutdown":
            await self._end(service.shutdown())
        elif farewell == "timed_out":
            await self._end(service.timed_out())

    async def _serve(self) -> None:
        await self._strike("accept")
        while True:
            await self._handle(await self._next_event())

    async def _next_event(self) -> Event:
        event = self._session.next_event()
        while event is None:
            try:
                async with asyncio.timeout(self._context.limits.idle):
                    data = await self._link.receive()
            except TimeoutError:
                await self._end(service.timed_out())
                raise Finished from None
            except LinkLost:
                if self.streaming:
                    await self._link.send(wire.READY)
                raise
            self._session.feed(data)
            event = self._session.next_event()
        return event

    async def _handle(self, event: Event) -> None:
        match event:
            case EncryptionRequested():
                await self._link.send(wire.NO_ENCRYPTION)
            case Startup():
                await self._log_in(event)
            case Token():
                await self._check(event)
            case StreamQuery():
                await self._begin(event)
            case BackupQuery() | LeaseQuery():
                await self._answer_query(event)
            case OtherQuery():
                await self._link.send(event.answer)
            case Payload():
                await self._request(event)
            case Stray():
                await self._end(service.defect(event.text))
            case Terminate():
                if self.streaming:
                    await self._link.send(wire.READY)
                raise Finished

    async def _log_in(self, event: Startup) -> None:
        self._params = event.params
        self._context.counts["startup"] += 1
        await self._strike("startup")
        if self._context.auth_key is not None:
            await self._link.send(self._session.ask_token())
            return
        if self._context.faults.pending("auth"):
            # the fault's place is between AuthenticationOk and the rest of the welcome
            await self._link.send(wire.AUTH_OK)
            await self._auth_fault()
            await self._link.send(self._session.admit()[len(wire.AUTH_OK) :])
        else:
            await self._link.send(self._session.admit())
        self._context.counts["login"] += 1

    async def _check(self, event: Token) -> None:
        await self._auth_fault()
        try:
            self._claims = check_token(event.text, self._context.auth_key or "")
        except TokenError as error:
            log.info("connection %d: token refused: %s", self.number, error)
            await self._refuse_login()
        await self._link.send(self._session.admit())
        self._context.counts["login"] += 1

    async def _auth_fault(self) -> None:
        fault = await self._strike("auth")
        if fault is not None:
            await self._refuse_login()

    async def _refuse_login(self) -> None:
        await self._link.send(wire.error_response(wire.INTERNAL_ERROR, BAD_TOKEN))
        raise Finished

    async def _begin(self, query: StreamQuery) -> None:
        fault = await self._strike("pagestream")
        if fault is not None:
            await self._end(service.defect(fault.text or BAD_TOKEN))
        elif not self._claims.allow(query.tenant):
            await self._end(service.defect(BAD_TOKEN))
        else:
            await self._link.send(self._session.begin_stream(query))
            self._context.counts["pagestream"] += 1

    async def _answer_query(self, query: BackupQuery | LeaseQuery) -> None:
        held, send = self._context.service, self._link.send
        try:
            if not self._claims.allow(query.tenant):
                raise service.defect(BAD_TOKEN)
            await answer_query(query, held=held, send=send, strike=self._strike)
        except EndStream as end:
            await self._end(end)
        else:
            await send(self._session.complete())

    async def _request(self, event: Payload) -> None:
        self.busy = True
        self.requests += 1
        try:
            request = messages.decode_request(event.data, event.stream.version)
        except messages.DecodeError as error:
            await self._end(service.defect(str(error)))
        else:
            await self._answer(request, event.stream)
        self.busy = False

    async def _answer(self, request: messages.Request, stream: StreamQuery) -> None:
        fault = await self._strike("response", request.kind)
        try:
            if fault is not None:
                refuse_by_order(fault)
            payload = await self._context.service.answer(
                request, tenant=stream.tenant, timeline=stream.timeline
            )
        except InBand as error:
            self._context.counts["errors"] += 1
            payload = messages.encode_error(request, str(error))
        except EndStream as end:
            await self._end(end)
            return
        if fault is None or fault.kind == "error":  # an ordered error has its payload by now
            await self._link.send(wire.copy_data(payload))
            return
        await self._link.send(mangle(fault, request, payload))
        if fault.kind == "half_message":
            await self._after_half(fault)

    async def _after_half(self, fault: Fault) -> None:
        if fault.end == "silence":
            await self._link.silence(fault.cleared)
        raise Finished

    async def _end(self, end: EndStream) -> None:
        await self._link.send(self._session.end_stream(end.sqlstate, end.text, ready=end.ready))
        if end.close:
            raise Finished

    async def _strike(self, phase: str, request: str | None = None) -> Fault | None:
        """Carry out what can strike anywhere; return what is left to the caller."""
        faults = self._context.faults
        if delay := faults.take_delay(phase, request):
            await asyncio.sleep(delay)
        fault = faults.take(phase, request)
        if fault is None:
            return None
        match fault.kind:
            case "reset":
                self._link.reset()
                raise Finished
            case "close":
                raise Finished
            case "silent":
                await self._link.silence(fault.cleared)
                raise Finished
            case "reconnect":
                await self._end(service.reconnect())
            case "shutdown":
                await self._end(service.shutdown())
            case "timed_out":
                await self._end(service.timed_out())
            case _:
                pass
        return fault
