"""Asks the admin API: over its unix socket, or over TCP with a token from the environment."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import click
import msgspec
from msgspec import Struct

from compute_common.cli.connection import UnixConnection, exchange
from compute_common.cli.exit_codes import (
    EXIT_FAILED,
    EXIT_NOT_PERMITTED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    CommandError,
)
from control_plane.cli.exit_codes import TOKEN_VARIABLE
from control_plane.settings import DEFAULT_STORE, SOCKET_NAME

TIMEOUT_S: Final = 15.0
SOCKET_VARIABLE: Final = "CONTROL_PLANE_SOCKET"
URL_VARIABLE: Final = "CONTROL_PLANE_URL"
DEFAULT_SOCKET: Final = DEFAULT_STORE.with_name(SOCKET_NAME)

Command = TypeVar("Command", bound=Callable[..., Any])
Body = TypeVar("Body", bound=Struct)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the admin API is."""

    socket: Path = DEFAULT_SOCKET
    url: str | None = None
    """Where it is given, the socket is not tried."""
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, *, socket: str | None, url: str | None) -> Target:
        """Return the one that the options name."""
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        return cls(socket=Path(socket) if socket else DEFAULT_SOCKET, url=url, token=token)

    @property
    def address(self) -> str:
        """As messages name it."""
        return self.url or f'"{self.socket}"'


def target_options(command: Command) -> Command:
    """Add the options that say where the control plane is."""
    options = (
        click.option(
            "--socket",
            metavar="FILE",
            envvar=SOCKET_VARIABLE,
            help=f"Its admin socket (or ${SOCKET_VARIABLE}; default: {DEFAULT_SOCKET}).",
        ),
        click.option(
            "--url",
            metavar="URL",
            envvar=URL_VARIABLE,
            help=f"Its --admin-listen instead, as http://HOST:PORT (or ${URL_VARIABLE}).",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def ask(
    target: Target,
    kind: type[Body],
    method: str,
    path: str,
    *,
    query: Mapping[str, object] | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> tuple[Body, Any]:
    """Send one request; return the answer decoded, and its JSON.

    Raises:
        CommandError: it is unreachable (exit code 3), refuses this user (4) or the request (1).
    """
    wanted = {name: str(value) for name, value in (query or {}).items() if value not in (None, "")}
    found = fetch(target, method, path + (f"?{urlencode(wanted)}" if wanted else ""),
                  body=body, headers=headers or {}, timeout_s=timeout_s)  # fmt: skip
    try:
        return msgspec.convert(found, kind, strict=False), found
    except msgspec.ValidationError as error:
        raise _stranger(target) from error


def fetch(
    target: Target,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str],
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """Return the JSON of a good answer. Raises CommandError, as `ask` does."""
    named = {"User-Agent": "compute_control_plane", **headers}
    if body is not None:
        named["Content-Type"] = "application/json"
    if target.token and target.url:
        named["Authorization"] = f"Bearer {target.token}"
    connection = _connection(target, timeout_s)
    try:
        code, found = exchange(connection, method, path, body=body, headers=named)
    except OSError as error:
        raise _unreachable(target, error) from error
    except (http.client.HTTPException, ValueError) as error:
        raise _stranger(target) from error
    if code < 400:
        return found
    if not isinstance(found, dict) or not isinstance(found.get("error"), str):
        raise _stranger(target)
    status = EXIT_NOT_PERMITTED if code in (401, 403) else EXIT_FAILED
    hint = found.get("hint")
    if "token" in found["error"] and target.url:
        hint = f"Put the token of --admin-token-file into {TOKEN_VARIABLE}."
    raise CommandError(status, found["error"], hint=hint)


def _connection(target: Target, timeout_s: float) -> http.client.HTTPConnection:
    if target.url is None:
        return UnixConnection(target.socket, timeout_s)
    try:
        parts = urlsplit(target.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host or parts.path not in ("", "/"):
        raise CommandError(
            EXIT_USAGE, f'"{target.url}" is not an address', hint="Write http://HOST:PORT."
        )
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout_s)
    return http.client.HTTPConnection(host, port, timeout=timeout_s)


def _unreachable(target: Target, error: OSError) -> CommandError:
    if isinstance(error, PermissionError) and target.url is None:
        hint = "Run this as root, or as the user that the control plane runs as."
        return CommandError(EXIT_NOT_PERMITTED, f"may not use {target.address}", hint=hint)
    if isinstance(error, TimeoutError):
        reason = "it does not answer"
    else:
        reason = str(error.strerror or error).lower()
    hint = "Is it running? Name its --socket (beside its --store), or its --url."
    return CommandError(
        EXIT_UNREACHABLE, f"could not reach the control plane at {target.address}: {reason}",
        hint=hint,
    )  # fmt: skip


def _stranger(target: Target) -> CommandError:
    return CommandError(
        EXIT_UNREACHABLE,
        f"{target.address} is not a control plane: its answer is not one of its own",
        hint="Name its admin socket (--socket) or its --admin-listen (--url).",
    )
