"""Documents for the simulation: good ones, and each way of being wrong."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from devstack.document import attached

TENANT: Final = "9f3c1d5e7a804b26a1c4e85d02f7b369"
OTHER: Final = "00000000000000000000000000000001"
TIMELINE: Final = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


class Kind(StrEnum):
    """What is the matter with a document."""

    GOOD = "good"
    RESTART = "restart"
    """A setting waits for a restart."""
    BAD_VALUE = "bad_value"
    UNKNOWN_NAME = "unknown_name"
    UNSTARTABLE = "unstartable"
    """Reloads well, and kills the next start."""
    HANGS = "hangs"
    """Reloads well, and the next start never ends."""
    NO_CERTIFICATE = "no_certificate"
    """TLS without a certificate: reloads without an error in any view, kills the next start."""
    LOCKOUT = "lockout"
    """Reloads well, and lets nobody log in."""
    CRASH = "crash"
    """Reloads well, and each login crashes the server, which restarts by itself."""
    BAD_UPSTREAM = "bad_upstream"
    """The server refuses the list."""
    UNWRITABLE = "unwritable"
    """Our own checks refuse the rest."""
    OTHER_TENANT = "other_tenant"
    AGAIN = "again"
    """The content of the document before, under a newer version."""
    ROLES = "roles"
    """Another role, and the same file as the document before."""
    NO_SERVERS = "no_servers"
    NO_TENANT = "no_tenant"
    NO_CLUSTER = "no_cluster"


OMISSIONS: Final = frozenset({Kind.NO_SERVERS, Kind.NO_TENANT, Kind.NO_CLUSTER})
"""Documents that leave out what a live compute has: that is no order to take it away."""
_OMITTED: Final = {
    Kind.NO_SERVERS: ("pageserver_connection_info",),
    Kind.NO_TENANT: ("tenant_id", "timeline_id"),
    Kind.NO_CLUSTER: ("cluster",),
}


class Ordering(StrEnum):
    """How the documents of one run are ordered."""

    GENERATION = "generation"
    TIMESTAMP = "timestamp"
    NONE = "none"


@dataclass(slots=True)
class Writer:
    """Writes documents, each newer than the one before."""

    ordering: Ordering
    number: int = 0
    candidates: bool = True
    """Some name several pageservers."""
    login: bool = False
    """They carry a storage token."""
    _last: dict[str, Any] = field(default_factory=dict)

    def write(self, place: int, kind: Kind = Kind.GOOD, *, behind: int = 0) -> bytes:
        """Return the next document; *behind*: its version is older by so many."""
        self.number += 1
        if kind is Kind.ROLES and self._last.get("spec", {}).get("cluster"):
            self._last = deepcopy(self._last)
            self._last["spec"]["cluster"]["roles"] = [{"name": f"role{self.number}"}]
        elif kind is not Kind.AGAIN or not self._last:
            self._last = self._content(place, kind)
        document = deepcopy(self._last)
        version = max(1, self.number - behind)
        if self.ordering is Ordering.GENERATION:
            document["spec"]["generation"] = version
        elif self.ordering is Ordering.TIMESTAMP:
            at = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=version)
            document["spec"]["timestamp"] = at.isoformat()
        return json.dumps(document).encode()

    def _candidates(self, place: int) -> list[str]:
        """Return further pageservers that some documents name: the next one, or one refused."""
        if not self.candidates:
            return []
        return {0: [f"ps{place + 1}"], 1: [f"ps{place + 1}", "refused"]}.get(self.number % 4, [])

    def _content(self, place: int, kind: Kind) -> dict[str, Any]:
        settings = {"work_mem": f"{self.number}MB"}
        if kind is Kind.RESTART:
            settings["shared_buffers"] = f"{100 + self.number}MB"
        elif kind is Kind.BAD_VALUE:
            settings["work_mem"] = f"bogus{self.number}"
        elif kind is Kind.UNKNOWN_NAME:
            settings["no_such_setting"] = "1"
        elif kind is Kind.UNSTARTABLE:
            settings["shared_preload_libraries"] = "neon_refresh,nolib"
        elif kind is Kind.HANGS:
            settings["shared_preload_libraries"] = "neon_refresh,hanglib"
        elif kind is Kind.NO_CERTIFICATE:
            settings["ssl"] = "on"
        elif kind is Kind.CRASH:
            settings["session_preload_libraries"] = "crashlib"
        elif kind is Kind.LOCKOUT:
            settings["session_preload_libraries"] = "nolib"
        elif kind is Kind.UNWRITABLE:
            settings["log_min_duration_statement"] = "two\nlines"
        host = "refused" if kind is Kind.BAD_UPSTREAM else f"ps{place}"
        document = attached(
            tenant=OTHER if kind is Kind.OTHER_TENANT else TENANT,
            timeline=TIMELINE,
            pageservers=[[url(host), *map(url, self._candidates(place))]],
            settings=settings,
        )
        if self.login:
            document["spec"]["storage_auth_token"] = f"token-{self.number}"
        for name in _OMITTED.get(kind, ()):
            del document["spec"][name]
        return document


def url(host: str) -> str:
    """Return the connection string of a pageserver."""
    return f"postgresql://{host}:6400"
