"""The settings of the control plane, from command line and environment."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError

DEFAULT_STORE: Final = Path("/var/lib/compute_control_plane/state.db")
SOCKET_NAME: Final = "admin.sock"
"""The admin API's unix socket, in the state folder."""
JWT_KEY_NAME: Final = "jwt.key"
MOST_HELD: Final = 20_000
"""Long polls held at the same time at most, unless `max_held` says otherwise."""


class EvidenceMode(StrEnum):
    """What a verdict does."""

    OBSERVE = "observe"
    """It is shown and recorded."""
    ACT = "act"
    """The storage controller is told that the node is offline."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen."""

    host: str
    """An IP address or a name; '' means all addresses, IPv4 and IPv6."""
    port: int
    """0 picks a free one."""

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read ``[HOST]:PORT``; an IPv6 address stands in brackets.

        Raises:
            SettingsError: it is no such address.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise SettingsError(f'"{text}" is not an address', hint="Write HOST:PORT or :PORT.")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise SettingsError(f'"{text}" is not an address', hint="Write [IPV6]:PORT.")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one control plane. Tokens come from files or the environment only."""

    listen: ListenAddress = ListenAddress("127.0.0.1", 3090)
    """For computes and the storage controller."""
    tls_cert: Path | None = None
    """PEM certificate chain of `listen`; with `tls_key`, or neither."""
    tls_key: Path | None = None
    store: str = str(DEFAULT_STORE)
    """Path of the SQLite database."""
    admin_socket: Path | None = None
    """Default: `admin.sock` beside the store."""
    admin_listen: ListenAddress | None = None
    """The admin API over TCP; needs `admin_token`."""
    page_listen: ListenAddress | None = None
    """The page alone, read-only and without secrets."""
    storage_controller: str | None = None
    """Base URL, or several separated by commas; None: documents are published as they are put."""
    storage_controller_ca: Path | None = None
    """PEM file of the authorities to trust for it instead of the system's."""
    storage_controller_token: str = field(default="", repr=False)
    hook_token: str = field(default="", repr=False)
    """What the storage controller shows; '': none is asked for, on loopback only."""
    compute_token: str = field(default="", repr=False)
    """Shared by the computes without a token of their own; '' as for `hook_token`."""
    admin_token: str = field(default="", repr=False)
    jwt_key: Path | None = None
    """Signs the tokens for Neon's `POST /configure`. Default: `jwt.key` beside the store."""
    evidence: EvidenceMode = EvidenceMode.OBSERVE
    evidence_quorum: int = 2
    """Computes that must suspect a node; all its users where they are fewer."""
    max_held: int | None = None
    """Long polls held at the same time; None: as many as open files allow, at most `MOST_HELD`."""
    log_format: str = "human"
    """`human` or `json`."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    def __post_init__(self) -> None:
        """Check what depends on more than one setting.

        Raises:
            SettingsError: they contradict each other.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError("--tls-cert and --tls-key must be given together")
        if self.admin_listen is not None and not self.admin_token:
            raise SettingsError("--admin-listen needs --admin-token-file")
        if self.storage_controller is None:
            if self.evidence is EvidenceMode.ACT:
                raise SettingsError("--evidence act needs --storage-controller")
            return
        if not self.hook_token and not self.listen.is_loopback:
            raise SettingsError(
                f"--listen {self.listen} with --storage-controller needs --hook-token-file",
                hint="Give the storage controller the same token by --control-plane-jwt-token.",
            )

    @property
    def managed(self) -> bool:
        """Whether a storage controller says where the storage of a tenant is."""
        return self.storage_controller is not None

    @property
    def state_folder(self) -> Path:
        """Where the store is."""
        return Path(self.store).parent

    @property
    def admin_socket_path(self) -> Path:
        """The unix socket of the admin API."""
        return self.admin_socket or self.state_folder / SOCKET_NAME

    @property
    def jwt_key_path(self) -> Path:
        """The signing key; it is made where it does not exist."""
        return self.jwt_key or self.state_folder / JWT_KEY_NAME
