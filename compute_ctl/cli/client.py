"""HTTP client of the commands: over the daemon's unix socket, else over loopback.

Blocking `http.client`, since a command makes one request. Loopback is used only where --port is
given, or neither a socket nor a data directory: the default port may be another compute's.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from compute_common.cli.connection import UnixConnection, exchange
from compute_common.cli.exit_codes import EXIT_NOT_PERMITTED, EXIT_UNREACHABLE, CommandError
from compute_ctl.cli.local import data_directory_error, permission_hint
from compute_ctl.settings import Settings

TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the daemon listens, by the command line and the environment."""

    socket: Path | None = None
    port: int | None = None
    """Loopback port; where it is given, the socket is not tried."""
    pgdata: Path | None = None
    """The data directory, where *socket* was derived from it."""

    @classmethod
    def find(
        cls,
        *,
        socket: str | None,
        pgdata: str | None,
        state_dir: str | None,
        port: int | None,
        environment: Mapping[str, str],
    ) -> Target:
        """Return the target that the options name, first match first; $PGDATA comes last."""
        if socket:
            return cls(socket=Path(socket), port=port)
        pgdata = pgdata or environment.get("PGDATA")
        if state_dir:
            return cls(socket=Path(state_dir) / "ctl.sock", port=port)
        if pgdata:
            folder = Path(pgdata)
            return cls(socket=folder / "compute_ctl" / "ctl.sock", port=port, pgdata=folder)
        return cls(port=port)


@dataclass(frozen=True, kw_only=True)
class DaemonResponse:
    """The daemon's response."""

    code: int
    body: Any
    address: str
    """Where the daemon was reached, for messages."""


def ask(
    target: Target,
    method: str,
    path: str,
    *,
    timeout_s: float = TIMEOUT_S,
    loopback_allowed: bool = True,
    body: bytes | None = None,
) -> DaemonResponse:
    """Send one request; each wait ends after *timeout_s*.

    Raises:
        CommandError: the daemon is unreachable (exit code 3) or refuses this user (4).
    """
    if target.socket is not None and not (loopback_allowed and target.port is not None):
        try:
            connection: http.client.HTTPConnection = UnixConnection(target.socket, timeout_s)
            return _exchange(connection, method, path, f"unix:{target.socket}", body)
        except PermissionError as error:
            raise _not_permitted(target.socket, port_allowed=loopback_allowed) from error
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise _no_listener(target.socket, target.pgdata) from error
        except OSError as error:
            raise _unreachable(f'"{target.socket}"', error) from error
    if not loopback_allowed:
        raise CommandError(
            EXIT_UNREACHABLE,
            "this needs the unix socket",
            hint="Name the data directory (-D or $PGDATA) or the socket (--socket).",
        )
    port = Settings.internal_http_port if target.port is None else target.port
    place = f"http://127.0.0.1:{port}"
    try:
        tcp = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        return _exchange(tcp, method, path, place, body)
    except OSError as error:
        raise _unreachable(place, error) from error


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    address: str,
    body: bytes | None,
) -> DaemonResponse:
    headers = {"User-Agent": "compute_ctl", "X-Refresh-Source": "operator"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        code, answer = exchange(connection, method, path, body=body, headers=headers)
    except http.client.HTTPException as error:
        raise CommandError(
            EXIT_UNREACHABLE, f"{address} does not speak HTTP as expected"
        ) from error
    except ValueError as error:
        raise CommandError(
            EXIT_UNREACHABLE, f"{address} is not compute_ctl: its answer is not JSON"
        ) from error
    return DaemonResponse(code=code, body=answer, address=address)


def _no_listener(path: Path, pgdata: Path | None) -> CommandError:
    """Return the error for a socket *path*, derived from *pgdata*, on which nothing listens."""
    missing = data_directory_error(pgdata, EXIT_UNREACHABLE) if pgdata is not None else None
    return missing or CommandError(
        EXIT_UNREACHABLE,
        f'no compute_ctl listens on "{path}"',
        hint="Start it; PostgreSQL runs on meanwhile. If it runs, name its data directory (-D), "
        "--state-dir or --socket.",
    )


def _unreachable(place: str, error: OSError) -> CommandError:
    if isinstance(error, TimeoutError):
        return CommandError(
            EXIT_UNREACHABLE,
            f"compute_ctl at {place} does not answer",
            hint="It hangs: see its log. kill -9 ends it and leaves PostgreSQL running.",
        )
    return CommandError(
        EXIT_UNREACHABLE,
        f"could not reach compute_ctl at {place}: {str(error.strerror or error).lower()}",
        hint="Is it running? Name its data directory (-D), its --socket or its --port.",
    )


def not_compute_ctl(address: str) -> CommandError:
    """Return the error for a response that is not from compute_ctl."""
    return CommandError(
        EXIT_UNREACHABLE,
        f"{address} is not compute_ctl: its answer is not one of its own",
        hint="Name its data directory (-D), its --socket or its --port.",
    )


def _not_permitted(path: Path, *, port_allowed: bool) -> CommandError:
    hint = permission_hint(path)
    if port_allowed:
        hint += " Its --port on 127.0.0.1 needs no rights."
    return CommandError(EXIT_NOT_PERMITTED, f'may not use "{path}"', hint=hint)
