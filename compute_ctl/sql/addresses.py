"""Resolves host names before libpq does.

psycopg calls libpq with Python's global lock held, so a name server that does not answer would stop
the whole daemon. Python's own lookup lets go of the lock: only the thread that asks has to wait.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from compute_ctl.errors import ProbeError


def resolve(given: Mapping[str, object], environment: Mapping[str, str]) -> dict[str, str]:
    """Return what to add to the connection parameters *given* so that libpq resolves no name.

    A name with several addresses becomes several hosts, which libpq tries in this order.

    Raises:
        ProbeError: a name has no address.
    """
    hosts = str(given.get("host") or environment.get("PGHOST") or "").split(",")
    known = given.get("hostaddr") or environment.get("PGHOSTADDR")
    service = given.get("service") or environment.get("PGSERVICE")  # has addresses of its own
    if known or service or not any(map(_is_name, hosts)):
        return {}
    ports = str(given.get("port") or environment.get("PGPORT") or "").split(",")
    if len(ports) not in (1, len(hosts)):
        return {}  # libpq says what is wrong with that
    found = [
        (host, address, ports[number % len(ports)])
        for number, host in enumerate(hosts)
        for address in (_addresses(host) if _is_name(host) else [""])
    ]
    return {
        "host": ",".join(host for host, _, _ in found),
        "hostaddr": ",".join(address for _, address, _ in found),
        "port": ",".join(port for _, _, port in found),
    }


def _is_name(host: str) -> bool:
    return bool(host) and not host.startswith(("/", "@"))


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ProbeError(f'could not find the address of host "{host}": {reason}') from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
