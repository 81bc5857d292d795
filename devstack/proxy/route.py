"""One route: a port of ours, the address behind it, and the connections in between."""

import asyncio
import socket
import struct
from collections import Counter
from contextlib import suppress

from devstack.proxy.faults import Order, Orders
from devstack.serve import bound_socket

PIECE = 65_536
BACKLOG = 128
RESET_AT_CLOSE = struct.pack("ii", 1, 0)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Pipe:
    """One connection of a client, and ours to the target."""

    def __init__(self, client: Streams) -> None:
        self.dead = False
        self._sides: list[Streams] = [client]

    async def run(self, route: "Route") -> None:
        """Connect to the target and carry bytes until both sides have ended."""
        try:
            await route.flow()
            self._sides.append(await asyncio.open_connection(*route.target))
            client, target = self._sides
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(route, client[0], target[1], answers=False))
                group.create_task(self._answers(route, target[0], client[1]))
        except* (OSError, ConnectionError):
            self.reset()
        finally:
            for _, writer in self._sides:
                writer.close()

    def reset(self) -> None:
        """End both sides by RST."""
        for _, writer in self._sides:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            writer.transport.abort()

    async def _answers(
        self, route: "Route", source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        try:
            await self._carry(route, source, sink, answers=True)
        except OSError:
            if not self.dead:
                raise  # a client that is cut off does not hear of the end either

    async def _carry(
        self,
        route: "Route",
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        answers: bool,
    ) -> None:
        while piece := await source.read(PIECE):
            if route.orders.delay_s:
                await asyncio.sleep(route.orders.delay_s)
            await route.flow()
            if self.dead:
                continue  # read on, so that its end is noticed
            half = route.orders.take_half() if answers else None
            if half is None:
                sink.write(piece)
                await sink.drain()
                continue
            sink.write(piece[: half.keep])
            await sink.drain()
            if half.end == "rst":
                raise ConnectionResetError("torn on demand")
            self.dead = True
        await route.flow()
        if self.dead and answers:
            return  # the client is to hear nothing of its end
        if sink.can_write_eof():
            sink.write_eof()
        if not answers:
            self._sides[-1][1].close()  # a client that has gone waits for nothing


class Route:
    """Listens on a port of its own; `start` first."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.orders = Orders()
        self.counts: Counter[str] = Counter()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._pipes: dict[_Pipe, asyncio.Task[None]] = {}

    async def start(self) -> str:
        """Take a port and listen; the address as `HOST:PORT`. Raises OSError."""
        # A second socket that never listens keeps the port ours while connections are refused.
        self._reserved = bound_socket("127.0.0.1", 0)
        await self._listen()
        return self.listen

    @property
    def listen(self) -> str:
        """Our address."""
        assert self._reserved is not None, "the route was not started"
        return "{}:{}".format(*self._reserved.getsockname())

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._pipes)

    async def flow(self) -> None:
        """Wait until bytes may pass."""
        await self._flowing.wait()

    def strike(self, order: Order) -> None:
        """Put a fault in force, or let a momentary one happen."""
        self.counts[order.kind] += 1
        match order.kind:
            case "reset" | "refuse":
                for pipe, task in list(self._pipes.items()):
                    pipe.reset()
                    task.cancel()
            case "half_open":
                for pipe in self._pipes:
                    pipe.dead = True
            case "blackhole":
                self._flowing.clear()
            case _:
                pass
        if order.kind == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        if order.kind not in ("reset", "half_open"):
            self.orders.add(order)

    async def clear(self, kind: str | None = None) -> int:
        """Withdraw faults; how many were in force. What is dead stays dead."""
        gone = self.orders.clear(kind)
        if not self.orders.active("blackhole"):
            self._flowing.set()
        if not self.orders.active("refuse"):
            await self._listen()
        return gone

    async def close(self) -> None:
        """Refuse, and reset what is open."""
        self.strike(Order(kind="refuse"))
        if self._pipes:
            await asyncio.wait(list(self._pipes.values()))
        if self._reserved is not None:
            self._reserved.close()

    async def _listen(self) -> None:
        if self._server is None and self._reserved is not None:
            sock = bound_socket(*self._reserved.getsockname())
            self._server = await asyncio.start_server(self._open, sock=sock, backlog=BACKLOG)

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        pipe = _Pipe((reader, writer))
        task = asyncio.create_task(pipe.run(self), name="pipe")
        self._pipes[pipe] = task
        task.add_done_callback(lambda _: self._pipes.pop(pipe))
