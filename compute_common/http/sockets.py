"""Where a listener listens, and how its sockets are opened."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError
from compute_common.system.unix_path import at_path

LOOPBACK: Final = ("127.0.0.1", "::1")
ANY: Final = ("0.0.0.0", "::")  # noqa: S104 -- the program decides who may ask there
BACKLOG: Final = 1024
"""Connections wait in it while there is no room; the kernel limits it too (somaxconn)."""
_NO_IPV6: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
_TEMPORARY: Final = frozenset(
    {errno.EADDRINUSE, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
)


class PortTakenError(SettingsError):
    """A port that cannot be opened now, but may be free later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnixAddress:
    """A unix socket with mode 0600, or 0660 for *group*; a socket left behind is replaced."""

    path: Path
    group: str | None = None

    def open(self, program: str) -> socket.socket:
        """Listen; *program* is the one that listens, for messages.

        Raises:
            SettingsError: it cannot be opened.
        """
        return _unix_socket(self.path, self.group, program)


@dataclass(frozen=True, kw_only=True, slots=True)
class TcpAddress:
    """A port of a host."""

    port: int
    """0 picks one that is free."""
    host: str = ""
    """A name or address; "localhost" is 127.0.0.1 and ::1, "" every address of the machine."""
    option: str = ""
    """The option that gives the port, for messages."""

    def hosts(self) -> Sequence[str]:
        """Return the addresses of the host. Raises SettingsError."""
        if self.host in ("", "localhost"):
            return LOOPBACK if self.host else ANY
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            shown = reason(error) if isinstance(error, OSError) else "not a name"
            raise SettingsError(f'could not listen on "{self.host}": {shown}') from error
        return list(dict.fromkeys(str(one[4][0]) for one in found))


Address = UnixAddress | TcpAddress


def shown_address(host: str, port: int) -> str:
    """Return host and port as messages show them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tcp_socket(
    host: str, port: int, *, option: str, program: str, needed: bool
) -> socket.socket | None:
    """Listen on *port* of *host*.

    *option*: the flag that names the port, for messages; *program*: the one that listens; unless
    *needed*, return None for an IPv6 address on a machine without IPv6.

    Raises:
        PortTakenError: the port cannot be opened now.
        SettingsError: nor later.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock: socket.socket | None = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        if not needed and family == socket.AF_INET6 and error.errno in _NO_IPV6:
            return None
        temporary = port != 0 and error.errno in _TEMPORARY
        another = f" Choose another {option}." if option else ""
        raise (PortTakenError if temporary else SettingsError)(
            f"could not listen on {shown_address(host, port)}: {reason(error)}",
            hint=f"Is another {program} running?{another}"
            if error.errno == errno.EADDRINUSE
            else None,
        ) from error
    return sock


def _unix_socket(path: Path, group: str | None, program: str) -> socket.socket:
    gid = None if group is None else _gid(group)
    _remove_stale(path, program)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The kernel creates the file with the mode of the socket, so others never have access.
        os.fchmod(sock.fileno(), 0o600)
        at_path(path, sock.bind)
        if gid is not None:
            os.chown(path.parent, -1, gid)
            path.parent.chmod(0o710)  # the group may enter, but not list it
            os.chown(path, -1, gid, follow_symlinks=False)
            path.chmod(0o660)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise SettingsError(f'could not listen on unix socket "{path}": {reason(error)}') from error
    return sock


def _remove_stale(path: Path, program: str) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise SettingsError(f'could not look at "{path}": {reason(error)}') from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SettingsError(f'"{path}" is in the way of the unix socket', hint="Remove it.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            at_path(path, probe.connect)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                path.unlink()
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:  # EAGAIN: a full backlog, so somebody listens
                raise SettingsError(f'could not use "{path}": {reason(error)}') from error
    raise SettingsError(f'another {program} listens on "{path}"')


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise SettingsError(f'there is no group "{group}"') from None


def reason(error: OSError) -> str:
    """Return the system's message in lower case."""
    return (error.strerror or str(error)).lower()
