"""Start the proxy, with the control plane behind it, and order what computes are answered."""

import json
from pathlib import Path
from typing import Any, Self

from devstack.client import AdminError, exchange
from devstack.compute_control_plane import ComputeControlPlane
from devstack.launch import Standin


class FaultProxy(Standin):
    """A running proxy in front of *upstream*, a base URL; use it as a context manager."""

    def __init__(self, upstream: str, log_dir: Path) -> None:
        super().__init__("fault_proxy", [upstream], log_dir / "fault_proxy.log")
        self.base_url = f"http://{self.address}"

    def of(self, compute_id: str) -> "Faults":
        """Faults of the requests of one compute."""
        return Faults(self.child.ready["admin"], f"/compute/api/v2/computes/{compute_id}/")


class Faults:
    """Orders for the requests whose path begins with *path*."""

    def __init__(self, address: str, path: str) -> None:
        self._address = address
        self._path = path

    def strike(self, kind: str, *, route: str = "", count: int | None = None) -> None:
        """Order a fault of a *kind* that `faults.Fault` lists; for every *route*, or one."""
        self._order(kind=kind, path=self._path + route, count=count)

    def answer(
        self, body: Any = None, code: int = 200, *, route: str = "spec", count: int | None = None
    ) -> None:
        """Have requests answered with *code* and *body*: a string as it is, else as JSON."""
        text = body if isinstance(body, str) else json.dumps(body or {"error": "ordered"})
        self._order(kind="answer", path=self._path + route, count=count, code=code, body=text)

    def clear(self, kind: str | None = None) -> None:
        """Withdraw every order, or those of one kind."""
        query = f"?path={self._path}" + (f"&kind={kind}" if kind else "")
        self._call("DELETE", f"/fault{query}")

    def _order(self, **order: Any) -> None:
        self._call("PUT", "/fault", order)

    def _call(self, method: str, path: str, body: Any = None) -> None:
        status, answer = exchange(self._address, method, path, body)
        if status >= 400:
            raise AdminError(status, answer["error"])


class FaultyControlPlane:
    """A control plane behind a proxy, which computes ask; use it as a context manager."""

    proxy: FaultProxy

    def __init__(self, folder: Path) -> None:
        self.real = ComputeControlPlane(folder)

    @property
    def logs(self) -> dict[str, Path]:
        """Both logs, by name."""
        return {"control plane": self.real.log, "fault proxy": self.proxy.log}

    def __enter__(self) -> Self:
        self.proxy = FaultProxy(self.real.base_url, self.real.folder)
        self.real.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.real.kill()
        self.proxy.kill()
