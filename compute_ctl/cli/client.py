"""How the commands for people reach the daemon: over its unix socket, else over loopback.

Plain blocking HTTP by the standard library: a command lives for one answer. Loopback is asked only
where its port, or nothing at all, is named: a port that nobody named may be another compute's.
"""

from __future__ import annotations

import http.client
import json
import os
import pwd
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from compute_ctl.cli.ending import EXIT_NOT_PERMITTED, EXIT_UNREACHABLE
from compute_ctl.errors import ComputeError
from compute_ctl.settings import Settings
from compute_ctl.system.unix_path import at_path

TIMEOUT_S: Final = 10.0
MAX_ANSWER: Final = 16 * 1024 * 1024


class ClientError(ComputeError):
    """The daemon was not reached, or refused; `exit_code` is what the command ends with."""

    def __init__(self, exit_code: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the daemon is, as far as the command line and the environment tell."""

    socket: Path | None = None
    port: int | None = None
    """Loopback port; given: nothing else is tried."""
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
class Answer:
    """What the daemon said."""

    code: int
    body: Any
    door: str
    """Where it was asked, for people."""


def ask(
    target: Target,
    method: str,
    path: str,
    *,
    timeout_s: float = TIMEOUT_S,
    loopback_will_do: bool = True,
) -> Answer:
    """Ask the daemon; every wait is bounded by *timeout_s*.

    Raises:
        ClientError: it is not there (3) or does not let us in (4).
    """
    if target.socket is not None and not (loopback_will_do and target.port is not None):
        try:
            connection: http.client.HTTPConnection = _UnixConnection(target.socket, timeout_s)
            return _exchange(connection, method, path, f"unix:{target.socket}")
        except PermissionError as error:
            raise _not_permitted(target.socket, port_will_do=loopback_will_do) from error
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise _no_listener(target.socket, target.pgdata) from error
        except OSError as error:
            raise _unreachable(f'"{target.socket}"', error) from error
    if not loopback_will_do:
        raise ClientError(
            EXIT_UNREACHABLE,
            "this needs the unix socket",
            hint="Name the data directory (-D or $PGDATA) or the socket (--socket).",
        )
    port = Settings.internal_http_port if target.port is None else target.port
    place = f"http://127.0.0.1:{port}"
    try:
        tcp = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        return _exchange(tcp, method, path, place)
    except OSError as error:
        raise _unreachable(place, error) from error


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        at_path(self._path.absolute(), self.sock.connect)


def _exchange(connection: http.client.HTTPConnection, method: str, path: str, door: str) -> Answer:
    headers = {"User-Agent": "compute_ctl", "X-Refresh-Source": "operator"}
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        raw = response.read(MAX_ANSWER)
    except http.client.HTTPException as error:
        raise ClientError(EXIT_UNREACHABLE, f"{door} does not speak HTTP as expected") from error
    finally:
        connection.close()
    try:
        body = json.loads(raw) if raw else None
    except ValueError as error:
        raise ClientError(
            EXIT_UNREACHABLE, f"{door} is no compute_ctl: its answer is not JSON"
        ) from error
    return Answer(code=response.status, body=body, door=door)


def _no_listener(path: Path, pgdata: Path | None) -> ClientError:
    """Return the error where nothing listens on *path*, which was derived from *pgdata*."""
    missing = missing_data_directory(pgdata, EXIT_UNREACHABLE) if pgdata is not None else None
    return missing or ClientError(
        EXIT_UNREACHABLE,
        f'no compute_ctl listens on "{path}"',
        hint="Start it; PostgreSQL runs on meanwhile. If it runs, name its data directory (-D), "
        "--state-dir or --socket.",
    )


def missing_data_directory(pgdata: Path, exit_code: int) -> ClientError | None:
    """Return the error that says that *pgdata* is no folder; None where it is one.

    *exit_code* is what the command ends with then; where looking is not permitted, 4.
    """
    try:
        if stat.S_ISDIR(os.stat(pgdata).st_mode):  # noqa: PTH116 -- Path.is_dir hides the reason
            return None
        said = "is not a directory"
    except PermissionError:
        return may_not_read(pgdata)
    except OSError:
        said = "does not exist"
    hint = "Is -D (or $PGDATA) right?"
    return ClientError(exit_code, f'data directory "{pgdata}" {said}', hint=hint)


def _unreachable(place: str, error: OSError) -> ClientError:
    if isinstance(error, TimeoutError):
        return ClientError(
            EXIT_UNREACHABLE,
            f"compute_ctl at {place} does not answer",
            hint="It hangs: see its log. kill -9 ends it and leaves PostgreSQL running.",
        )
    return ClientError(
        EXIT_UNREACHABLE,
        f"could not reach compute_ctl at {place}: {str(error.strerror or error).lower()}",
        hint="Is it running? Name its data directory (-D), its --socket or its --port.",
    )


def no_compute_ctl(door: str) -> ClientError:
    """Return the error of somebody who was answered by something else at *door*."""
    return ClientError(
        EXIT_UNREACHABLE,
        f"{door} is no compute_ctl: its answer is not one of its own",
        hint="Name its data directory (-D), its --socket or its --port.",
    )


def _not_permitted(path: Path, *, port_will_do: bool) -> ClientError:
    hint = who_may(path)
    if port_will_do:
        hint += " Its --port on 127.0.0.1 needs no rights."
    return ClientError(EXIT_NOT_PERMITTED, f'may not use "{path}"', hint=hint)


def may_not_read(path: Path) -> ClientError:
    """Return the error of somebody who may not read *path*."""
    return ClientError(EXIT_NOT_PERMITTED, f'may not read "{path}"', hint=who_may(path))


def who_may(path: Path) -> str:
    """Return a hint for somebody who may not use *path*."""
    owner = owner_of(path)
    name = owner[1] if owner else "its owner"
    return "Run this as root." if name == "root" else f"Run this as root or as {name}."


def owner_of(path: Path) -> tuple[int, str] | None:
    """Return user ID and name of the owner of *path*, or of the nearest folder that can be seen."""
    for candidate in (path, *path.parents):
        try:
            uid = os.stat(candidate).st_uid  # noqa: PTH116 -- follows links like the kernel will
        except OSError:
            continue
        try:
            return uid, pwd.getpwuid(uid).pw_name
        except KeyError:
            return uid, f"user ID {uid}"
    return None
