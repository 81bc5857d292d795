"""The listening side: accepts connections, refuses them on demand, ends them in order."""

import asyncio
import logging
import socket
from typing import Any

from devstack.pageserver.connection import Connection, Farewell
from devstack.pageserver.context import Context
from devstack.pageserver.link import FLUSH_SECONDS, Link
from devstack.pageserver.tenant import Tenant, TenantState
from devstack.serve import bound_socket

BACKLOG = 1024  # a herd of backends comes at once; whom the queue has no room for waits a second

log = logging.getLogger(__name__)


class Server:
    """Owns the port and the connections."""

    def __init__(self, context: Context, tenant: Tenant) -> None:
        self.total = 0
        self._context = context
        self._tenant = tenant
        self._reserved: socket.socket | None = None
        self._address = ("", 0)
        self._server: asyncio.Server | None = None
        self._running: dict[Connection, asyncio.Task[None]] = {}

    @property
    def connections(self) -> list[Connection]:
        """All open connections, oldest first."""
        return list(self._running)

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted."""
        return self._server is not None

    def bind(self, host: str, port: int) -> str:
        """Take the port; the address as `HOST:PORT`. `listen` next. Raises OSError."""
        # A second socket that never listens keeps the port ours while connections are refused.
        self._reserved = bound_socket(host, port)
        self._address = self._reserved.getsockname()
        return "{}:{}".format(*self._address)

    async def listen(self) -> None:
        """Accept connections; no effect where they are accepted already."""
        if self._server is None:
            sock = bound_socket(*self._address)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                lambda: Link(self._open), sock=sock, backlog=BACKLOG
            )

    def refuse(self) -> None:
        """Let new connections be refused by the kernel; open ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def disconnect(self, how: Farewell, *, idle_only: bool) -> int:
        """End all connections, or those idle in a stream; their number."""
        chosen = [
            connection
            for connection in self.connections
            if not idle_only or (connection.streaming and not connection.busy)
        ]
        for connection in chosen:
            connection.interrupt(how)
        return len(chosen)

    async def reset(self) -> None:
        """End all connections, accept new ones, count from zero."""
        self.disconnect("rst", idle_only=False)
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=FLUSH_SECONDS)
        self.total = 0
        await self.listen()

    async def stop(self) -> None:
        """Stop as on SIGTERM: refuse, let requests fail with 57P01, say 57P01 to all, leave."""
        self.refuse()
        self._tenant.update(state=TenantState.STOPPING)
        await asyncio.sleep(0)  # requests that waited for the tenant get their own answer first
        self.disconnect("shutdown", idle_only=False)
        tasks = list(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=FLUSH_SECONDS)
        for connection in self.connections:
            connection.abort()
        if self._reserved is not None:
            self._reserved.close()

    def _open(self, link: Link) -> None:
        self.total += 1
        connection = Connection(self.total, link, self._context)
        task = asyncio.create_task(connection.run(), name=f"connection-{self.total}")
        self._running[connection] = task
        task.add_done_callback(lambda done: self._closed(connection, done))

    def _closed(self, connection: Connection, task: asyncio.Task[Any]) -> None:
        del self._running[connection]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("connection %d died", connection.number, exc_info=error)
