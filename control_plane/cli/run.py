"""`compute_control_plane run`: flags and environment become `Settings`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from compute_common.errors import SettingsError
from compute_common.http.bearer import is_token
from control_plane.settings import (
    DEFAULT_STORE,
    MOST_HELD,
    EvidenceMode,
    ListenAddress,
    Settings,
)

Command = TypeVar("Command", bound=Callable[..., Any])

TOKEN_LIMIT: Final = 8192
"""Bytes that a token may have; a longer file is no token."""
ENVIRONMENT: Final[Mapping[str, str]] = {
    "hook_token": "CONTROL_PLANE_HOOK_TOKEN",
    "compute_token": "CONTROL_PLANE_COMPUTE_TOKEN",
    "admin_token": "CONTROL_PLANE_ADMIN_TOKEN",
    "storage_controller_token": "STORAGE_CONTROLLER_TOKEN",
}
"""By setting: the variable that holds the token where no file is named."""


def _address(
    context: click.Context, option: click.Parameter, value: str | None
) -> ListenAddress | None:
    """Return the address that was given. Raises click.BadParameter."""
    if value is None:
        return None
    try:
        return ListenAddress.parse(value)
    except SettingsError as error:
        raise click.BadParameter(
            f"{error} (write HOST:PORT, :PORT or [IPV6]:PORT)", context, option
        ) from error


FILE: Final = click.Path(path_type=Path)

OPTIONS: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option(
        "--listen",
        metavar="[HOST]:PORT",
        callback=_address,
        default=str(Settings.listen),
        show_default=True,
        help="Address for computes and the storage controller.",
    ),
    click.option("--tls-cert", type=FILE, help="PEM certificate chain for --listen."),
    click.option("--tls-key", type=FILE, help="Its PEM key."),
    click.option(
        "--store",
        type=str,
        metavar="FILE",
        default=str(DEFAULT_STORE),
        show_default=True,
        help="The database; it and its folder are made if absent.",
    ),
    click.option(
        "--admin-socket",
        type=FILE,
        help="Unix socket of the commands. Default: admin.sock beside the store.",
    ),
    click.option(
        "--admin-listen",
        metavar="[HOST]:PORT",
        callback=_address,
        help="The admin API over TCP; needs a token.",
    ),
    click.option("--admin-token-file", type=FILE, help="The token of --admin-listen."),
    click.option(
        "--page-listen", metavar="[HOST]:PORT", callback=_address, help="The page alone, read-only."
    ),
    click.option(
        "--storage-controller",
        metavar="URL",
        help="Base URL of Neon's storage controller; several are separated by commas.",
    ),
    click.option(
        "--storage-controller-ca", type=FILE, help="PEM file of the authorities to trust for it."
    ),
    click.option(
        "--storage-controller-token-file", type=FILE, help="The token for it, of scope admin."
    ),
    click.option("--hook-token-file", type=FILE, help="The token that it sends with its hooks."),
    click.option(
        "--compute-token-file", type=FILE, help="The token of computes that have none of their own."
    ),
    click.option(
        "--jwt-key",
        type=FILE,
        help="Key that signs tokens for Neon's own compute_ctl; made if absent. "
        "Default: jwt.key beside the store.",
    ),
    click.option(
        "--evidence",
        type=click.Choice([mode.value for mode in EvidenceMode]),
        default=EvidenceMode.OBSERVE.value,
        show_default=True,
        help="What the verdict that a pageserver is down does: show it, or tell the controller.",
    ),
    click.option(
        "--evidence-quorum",
        type=click.IntRange(1, 1000),
        default=Settings.evidence_quorum,
        show_default=True,
        help="How many computes must suspect a pageserver before it counts as down.",
    ),
    click.option(
        "--max-held",
        type=click.IntRange(1, 1_000_000),
        show_default=f"as many as the limit of open files allows, at most {MOST_HELD}",
        help="Long polls held at the same time.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(("human", "json")),
        default=Settings.log_format,
        show_default=True,
    ),
    click.option(
        "--log-level",
        type=click.Choice(("debug", "info", "warning", "error")),
        default=Settings.log_level,
        show_default=True,
    ),
)


def _with_options(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command(
    epilog="Tokens, where no file is named, come from "
    f"{', '.join(ENVIRONMENT.values())}. Exit status: 0 stopped by a signal; 1 failed; "
    "2 cannot start like this."
)
@_with_options
def run(**flags: Any) -> int:
    """Run the control plane until SIGTERM."""
    settings = read_settings(flags, os.environ)
    from control_plane.app.main import run as serve  # slow to import, so after the flags

    return serve(settings)


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Return the settings that parsed *flags* and the *environment* give.

    Raises:
        SettingsError: they contradict each other, or a token file cannot be read.
    """
    given = dict(flags)
    for setting, variable in ENVIRONMENT.items():
        path, text = given.pop(f"{setting}_file"), environment.get(variable, "")
        given[setting] = read_token(path, text, variable)
    given["evidence"] = EvidenceMode(given["evidence"])
    return Settings(**given)


def read_token(path: Path | None, text: str, variable: str) -> str:
    """Return the token in the file *path*, or where that is None *text*, from *variable*.

    Raises:
        SettingsError: the file cannot be read, or holds no token that fits into a header.
    """
    what = f'token file "{path}"' if path is not None else f"environment variable {variable}"
    if path is not None:
        try:
            with path.open("rb") as file:
                text = file.read(TOKEN_LIMIT + 1).decode("ascii", "replace")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SettingsError(f"could not read {what}: {reason}") from error
    token = text.strip()
    if path is not None and not token:
        raise SettingsError(f"{what} is empty")
    if len(token) > TOKEN_LIMIT or (token and not is_token(token)):
        raise SettingsError(f"{what} holds no token", hint="Letters, digits and -._~+/= only.")
    return token
