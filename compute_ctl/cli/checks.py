"""Checks of the command line against this machine, made before anything is changed.

Each raises SettingsError: one line that says what is wrong, and a hint. What only the owner of the
data directory can read is checked later: the daemon switches to that user first.
"""

from __future__ import annotations

import errno
import grp
import shutil
import socket
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError, SpecError
from compute_ctl.bootstrap.data_directory import DataDirectory
from compute_ctl.cli.run import RunOptions
from compute_ctl.document.conninfo import parse as parse_conninfo
from compute_ctl.settings import Settings

LOOPBACK: Final = "127.0.0.1"
ANYWHERE: Final = "0.0.0.0"  # noqa: S104 -- callers from outside come with a token


def check(options: RunOptions) -> None:
    """Run all checks; nothing is changed.

    Raises:
        SettingsError: the daemon could not run with these options.
    """
    settings = options.settings
    _check_data_directory(settings)
    _check_binary(settings, given=options.pgbin_given)
    _check_connstr(settings.connstr)
    _check_control_plane(settings)
    _check_patroni(settings.patroni)
    _check_state_directory(settings)
    _check_group(settings.socket_group)
    _check_port(LOOPBACK, settings.internal_http_port, "--internal-http-port")
    if settings.external_http_port:
        _check_port(ANYWHERE, settings.external_http_port, "--external-http-port")


def _check_data_directory(settings: Settings) -> None:
    pgdata = settings.pgdata
    try:
        names = [entry.name for entry in pgdata.iterdir()]
    except FileNotFoundError:
        if settings.attach or not pgdata.parent.is_dir():
            raise SettingsError(
                f'data directory "{pgdata}" does not exist', hint="Is -D right?"
            ) from None
        return  # it will be made
    except NotADirectoryError:
        raise SettingsError(f'data directory "{pgdata}" is not a directory') from None
    except OSError:
        return  # reported when the daemon switches to the owner
    if "PG_VERSION" in names:
        return
    if settings.attach:
        raise SettingsError(
            f'"{pgdata}" is not a data directory: it has no PG_VERSION',
            hint="With --attach, -D names the data directory of a server that exists already.",
        )
    if DataDirectory(pgdata, settings.state_path).foreign(names):
        raise SettingsError(
            f'"{pgdata}" is neither empty nor a data directory: it has no PG_VERSION',
            hint="Is -D right? A new cluster is only made in an empty directory.",
        )


def _check_binary(settings: Settings, *, given: bool) -> None:
    if settings.attach and not given:
        return  # used only to check a file before it is written
    if shutil.which(settings.pgbin) is None:
        raise SettingsError(
            f'server binary "{settings.pgbin}" does not exist or cannot be executed',
            hint="Name it with -b, for example -b /usr/lib/postgresql/15/bin/postgres.",
        )


def _check_connstr(connstr: str) -> None:
    try:
        parse_conninfo(connstr)
    except SpecError as error:
        raise SettingsError(f"option -C: {error.reason}", hint=error.hint) from error


def _check_control_plane(settings: Settings) -> None:
    if settings.control_plane_uri is not None:
        from compute_ctl.sources.control_plane import addresses

        addresses(settings.control_plane_uri)
    if settings.control_plane_ca is not None and not settings.control_plane_ca.is_file():
        raise SettingsError(
            f'certificate file "{settings.control_plane_ca}" does not exist',
            hint="Is --control-plane-ca right?",
        )


def _check_patroni(uri: str | None) -> None:
    if uri is not None:
        from compute_ctl.sources.patroni_api import api_addresses
        from compute_ctl.sources.patroni_etcd import SCHEME, store_of

        if uri.startswith(SCHEME):
            store_of(uri)
        else:
            api_addresses(uri)


def _check_state_directory(settings: Settings) -> None:
    parent: Path = settings.state_path.parent
    if settings.state_dir is not None and not parent.is_dir():
        raise SettingsError(
            f'parent of the state directory, "{parent}", does not exist',
            hint="Make it, or choose another --state-dir.",
        )


def _check_group(group: str | None) -> None:
    if group is None:
        return
    try:
        grp.getgrnam(group)
    except KeyError:
        raise SettingsError(f'there is no group "{group}"', hint="See --socket-group.") from None


def _check_port(host: str, port: int, option: str) -> None:
    """Bind the port and close it again, so that an error is reported before any file is made."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return  # the daemon retries, and heals meanwhile
            raise SettingsError(
                f"could not listen on {host}:{port}: {str(error.strerror).lower()}",
                hint=f"Choose another {option}.",
            ) from error
