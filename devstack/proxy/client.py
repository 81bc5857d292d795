"""Start a proxy and give it orders."""

from pathlib import Path
from typing import Any

from devstack.client import exchange
from devstack.launch import Standin


class Proxy(Standin):
    """A running proxy; use it as a context manager."""

    def __init__(self, log_dir: Path, name: str = "proxy") -> None:
        super().__init__("proxy", [], log_dir / f"{name}.log")

    def route(self, name: str, target: str) -> str:
        """Lead a port of the proxy to `HOST:PORT`; the proxy's own address."""
        listen: str = self._call("PUT", f"/routes/{name}", {"target": target})["listen"]
        return listen

    def strike(
        self,
        name: str,
        kind: str,
        *,
        delay_ms: int | None = None,
        keep: int | None = None,
        end: str | None = None,
    ) -> None:
        """Order a fault; see `devstack.proxy.faults.Order`."""
        order = {"kind": kind, "delay_ms": delay_ms, "keep": keep, "end": end}
        self._call("PUT", f"/routes/{name}/fault", order)

    def clear(self, name: str, kind: str | None = None) -> int:
        """Withdraw all faults of a route, or those of one kind; how many were in force."""
        query = f"?kind={kind}" if kind else ""
        cleared: int = self._call("DELETE", f"/routes/{name}/fault{query}")["cleared"]
        return cleared

    def stats(self) -> dict[str, Any]:
        """Connections and faults by route."""
        found: dict[str, Any] = self._call("GET", "/stats")
        return found

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = exchange(self.address, method, path, body)
        if status >= 400:
            raise ValueError(f"{status}: {answer}")
        return answer
