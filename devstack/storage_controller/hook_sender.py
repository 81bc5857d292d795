"""Sends one notification: its tries, their pauses, and the faults that are ordered."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp

from devstack.storage_controller import hook_rules
from devstack.storage_controller.events import Events, log_death
from devstack.storage_controller.faults import Fault, FaultBook
from devstack.storage_controller.hook_rules import Body, Result, result_of

EXCERPT = 500


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a notification ended; `status` None: without an answer."""

    result: Result
    status: int | None = None


class HookSender:
    """The client of the control plane; `start` first.

    `url` None: nobody is to be told, which counts as told. `scale` multiplies deadlines and pauses.
    """

    def __init__(
        self, url: str | None, faults: FaultBook, events: Events, *, token: str | None, scale: float
    ) -> None:
        self._url = None if url is None else url.rstrip("/")
        self._faults = faults
        self._events = events
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._scale = scale
        self._permits = asyncio.Semaphore(hook_rules.CONCURRENCY)
        self._held: dict[tuple[str, str], Body] = {}
        """Notifications that are to be overtaken, by hook and tenant."""
        self._copies: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession

    async def start(self) -> None:
        """Open the session."""
        timeout = aiohttp.ClientTimeout(total=hook_rules.TIMEOUT_SECONDS * self._scale)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)

    async def close(self) -> None:
        """Close the session; copies under way are dropped."""
        for task in self._copies:
            task.cancel()
        await self._session.close()

    async def send(self, hook: str, body: Body) -> Answer:
        """Send until it is answered for good, or given up for now."""
        if self._url is None:
            return Answer(result=Result.OK)
        async with self._permits:
            attempt = 0
            while True:
                answer = await self._try(hook, body, attempt)
                if answer.result is Result.SLOW_DOWN:
                    await self._sleep(hook_rules.SLOW_DOWN_SECONDS)
                if not answer.result.retried or attempt + 1 == hook_rules.TRIES:
                    return answer
                await self._sleep(hook_rules.pause(attempt))
                attempt += 1

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._scale)

    async def _try(self, hook: str, body: Body, attempt: int) -> Answer:
        fault = self._faults.take(hook)
        key = (hook, body["tenant_id"])
        match fault:
            case Fault(kind="lost"):
                self._note("hook_lost", hook, body)
                return Answer(result=Result.OK)
            case Fault(kind="reordered") if key not in self._held:
                self._note("hook_held_back", hook, body)
                self._held[key] = body
                return Answer(result=Result.OK)
            case Fault(kind="late", delay_ms=delay):
                await asyncio.sleep(delay / 1000)
            case _:
                pass
        answer = await self._request(hook, body, attempt=attempt)
        if fault is not None and fault.kind == "doubled":
            self._in_background(self._copy(hook, body, fault.delay_ms / 1000))
        overtaken = self._held.pop(key, None)
        if overtaken is not None:
            await self._request(hook, overtaken, fault="reordered")
        return answer

    async def _copy(self, hook: str, body: Body, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._request(hook, body, fault="doubled")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="copy of a hook")
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)
        task.add_done_callback(log_death)

    async def _request(self, hook: str, body: Body, **details: Any) -> Answer:
        self._note("hook_sent", hook, body, **details)
        began = time.monotonic()
        reason = None
        try:
            if self._faults.cut_off("cut_off_hooks"):
                raise aiohttp.ClientConnectionError("cut off by order")
            async with self._session.put(f"{self._url}/{hook}", json=body) as response:
                answer = Answer(result=result_of(response.status), status=response.status)
                if answer.result is not Result.OK:
                    reason = (await response.text(errors="replace"))[:EXCERPT]
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}"
            answer = Answer(result=Result.REQUEST)
        self._note(
            "hook_answered",
            hook,
            body,
            status=answer.status,
            result=answer.result.value,
            reason=reason,
            seconds=time.monotonic() - began,
            **details,
        )
        return answer

    def _note(self, kind: str, hook: str, body: Body, **details: Any) -> None:
        self._events.record(kind, hook=hook, tenant_id=body["tenant_id"], body=body, **details)
