"""Drives a headless Chromium over its DevTools protocol."""

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devstack.wait import until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--remote-debugging-port=0",
)
START_S = 40.0
ANSWER_S = 20.0

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium"
)


class BrowserError(Exception):
    """The browser has not carried out an order."""


class Tab:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, numbers: Iterator[int]) -> None:
        self._socket = socket
        self._numbers = numbers
        self._session: str | None = None
        self._target: str | None = None
        self.events: list[tuple[str, Any]] = []
        """What the browser told, by name."""

    async def open(self) -> None:
        """Open it, and listen to what it tells."""
        self._target = (await self.send("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self.send("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")

    async def close(self) -> None:
        """Close it."""
        self._session = None
        await self.send("Target.closeTarget", targetId=self._target)

    async def send(self, method: str, **parameters: Any) -> Any:
        """Give an order; what the browser answers. Raises BrowserError."""
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            order["sessionId"] = self._session
        await self._socket.send_json(order)
        async with asyncio.timeout(ANSWER_S):
            while (answer := await self._receive()).get("id") != number:
                pass
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def _receive(self) -> Any:
        message = await self._socket.receive_json()
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    async def show(self, url: str, *, width: int, height: int, dark: bool = False) -> None:
        """Load *url* into a window of that size, and wait until it is there."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        await self.send("Page.navigate", url=url)
        async with asyncio.timeout(ANSWER_S):
            while "Page.loadEventFired" not in dict(self.events):
                await self._receive()

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        found = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, what: str, expression: str) -> None:
        """Wait until a JavaScript expression is true, on whichever page is loaded meanwhile."""
        later = f"new Promise((answer) => setTimeout(() => answer({expression}), 50))"
        found, deadline = None, asyncio.get_running_loop().time() + ANSWER_S
        while not found:
            assert asyncio.get_running_loop().time() < deadline, f"not in time: {what}"
            with suppress(BrowserError):  # it has gone to another page
                found = await self.run(later)

    def complaints(self) -> list[str]:
        """What the browser has complained of: violations of the policy, scripts that failed."""
        return [
            str(told)
            for name, told in self.events
            if name in ("Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
        ]

    async def picture(self) -> bytes:
        """What the window shows, as a PNG."""
        found = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])


@dataclass
class Browser:
    """A browser that runs; its pages are used one after the other."""

    socket: aiohttp.ClientWebSocketResponse
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """Open a page."""
        tab = Tab(self.socket, self.numbers)
        await tab.open()
        yield tab
        await tab.close()


@asynccontextmanager
async def start_browser(folder: Path) -> AsyncIterator[Browser]:
    """Start a browser with its profile in *folder*."""
    assert CHROMIUM is not None, "mark the test with needs_chromium"
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={folder}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        port_file = folder / "DevToolsActivePort"
        await until(
            "Chromium to listen",
            lambda: port_file.exists() and len(port_file.read_text().splitlines()) == 2,
            START_S,
        )
        port, path = port_file.read_text().splitlines()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as socket,
        ):
            yield Browser(socket)
    finally:
        process.kill()
        await process.wait()
