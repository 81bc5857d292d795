"""Typed, synchronous clients of the admin APIs. Each call is one connection with a deadline."""

import http.client
import json
from typing import Any, Literal

TIMEOUT = 30.0
Farewell = Literal["fin", "rst", "timed_out", "shutdown"]


class AdminError(Exception):
    """The stand-in refused the order."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


def exchange(
    address: str, method: str, path: str, body: Any = None, *, token: str | None = None
) -> tuple[int, Any]:
    """One request to `HOST:PORT`; status and decoded body (None where it is empty).

    Raises OSError and http.client.HTTPException for a broken connection.
    """
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


class AdminClient:
    """What the admin doors of all stand-ins have."""

    def __init__(self, address: str) -> None:
        self.address = address

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = exchange(self.address, method, path, body)
        if status >= 400:
            raise AdminError(status, answer.get("error", "") if answer else "")
        return answer

    def stats(self) -> dict[str, Any]:
        """Everything countable."""
        answer: dict[str, Any] = self._call("GET", "/stats")
        return answer

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force."""
        answer: list[dict[str, Any]] = self._call("GET", "/fault")
        return answer

    def clear_faults(self, kind: str | None = None) -> int:
        """Withdraw all faults, or those of one kind; how many were in force."""
        answer = self._call("DELETE", "/fault" + (f"?kind={kind}" if kind else ""))
        cleared: int = answer["cleared"]
        return cleared


class PageserverAdmin(AdminClient):
    """Orders to a pageserver stand-in."""

    def set_fault(
        self,
        kind: str,
        *,
        phase: str | None = None,
        count: int | None = None,
        delay_ms: int | None = None,
        request: str | None = None,
        field: str | None = None,
        text: str | None = None,
        end: str | None = None,
    ) -> dict[str, Any]:
        """Order a fault; `count` None: until cleared."""
        order = {
            "kind": kind,
            "phase": phase,
            "count": count,
            "delay_ms": delay_ms,
            "request": request,
            "field": field,
            "text": text,
            "end": end,
        }
        answer: dict[str, Any] = self._call("PUT", "/fault", order)
        return answer

    def connections(self) -> list[dict[str, Any]]:
        """Every open connection."""
        answer: list[dict[str, Any]] = self._call("GET", "/connections")
        return answer

    def set_shards(self, shards: str | list[str], stripe_size: int | None = None) -> None:
        """Own these shards from now on; stripe size in blocks, None: as before."""
        self._call("PUT", "/shards", {"shards": shards, "stripe_size": stripe_size})

    def set_tenant(self, state: str) -> None:
        """Put the tenant in a state."""
        self._call("PUT", "/tenant", {"state": state})

    def set_lsn(self, last_record_lsn: str | None = None, gc_cutoff: str | None = None) -> None:
        """How far the WAL came and where it was collected; None: all is here."""
        self._call("PUT", "/lsn", {"last_record_lsn": last_record_lsn, "gc_cutoff": gc_cutoff})

    def reset(self) -> None:
        """Be as after the start: no fault, no connection, counters at zero."""
        self._call("POST", "/reset")

    def disconnect(self, how: Farewell = "fin", *, idle_only: bool = True) -> int:
        """End connections; their number."""
        closed: int = self._call("POST", "/disconnect", {"how": how, "idle_only": idle_only})[
            "closed"
        ]
        return closed
