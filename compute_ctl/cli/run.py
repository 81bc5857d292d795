"""The command line of the daemon itself: `compute_ctl run`, or bare flags.

All flags of Neon's compute_ctl are accepted, so that an existing command line works unchanged.
Those for features that this daemon does not have are named in one warning.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError
from compute_ctl.cli.run_flags import (
    UNUSED,
    UNUSED_SWITCHES,
    USAGE_HINT,
    flag_dest,
    run_parser,
)
from compute_ctl.settings import Init, Settings

DEFAULT_COMPUTE_ID: Final = "local"
_LEVELS: Final = {"trace": "debug", "debug": "debug", "info": "info", "warn": "warning"} | {
    name: name for name in ("warning", "error")
}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The settings that the command line and the environment give."""

    settings: Settings
    warnings: tuple[str, ...]
    """Lines for the log."""
    pgbin_given: bool
    """The server binary was named, by -b or $POSTGRES_PATH."""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> RunOptions:
    """Read the command line.

    Raises:
        SettingsError: it cannot be used.
        SystemExit: help was asked for and printed.
    """
    given = run_parser().parse_args(arguments)
    pgdata = given.pgdata or environment.get("PGDATA")
    if not pgdata:
        raise SettingsError("option -D (data directory) is missing", hint=USAGE_HINT)
    if not given.connstr:
        raise SettingsError("option -C (connection string) is missing", hint=USAGE_HINT)
    _check_source(given)
    pgbin = given.pgbin or environment.get("POSTGRES_PATH")
    return RunOptions(
        settings=_settings(given, environment, pgdata=pgdata, pgbin=pgbin or Settings.pgbin),
        warnings=tuple(_warnings(given, environment)),
        pgbin_given=pgbin is not None,
    )


def _settings(
    given: argparse.Namespace, environment: Mapping[str, str], *, pgdata: str, pgbin: str
) -> Settings:
    external, internal = _ports(given)
    return Settings(
        pgdata=_path(pgdata),
        connstr=given.connstr,
        compute_id=given.compute_id or DEFAULT_COMPUTE_ID,
        attach=given.attach,
        init=Init(given.init),
        config_path=_optional(given.config),
        control_plane_uri=given.control_plane_uri,
        control_plane_token=environment.get("NEON_CONTROL_PLANE_TOKEN", ""),
        patroni=given.patroni,
        control_plane_ca=_optional(given.control_plane_ca),
        pgbin=pgbin,
        config_file=_optional(given.config_file),
        state_dir=_optional(given.state_dir),
        external_http_port=external,
        internal_http_port=internal,
        tokens_need_exp=not given.allow_tokens_without_exp,
        extensions_on_loopback=given.extensions_on_loopback,
        socket_group=given.socket_group,
        privileged_role=given.privileged_role_name,
        lakebase_mode=given.lakebase_mode,
        max_settings=given.max_settings,
        max_roles=given.max_roles,
        max_databases=given.max_databases,
        installed_extensions_interval=given.installed_extensions_collection_interval,
        instance_id=environment.get("INSTANCE_ID"),
        refresh_min_interval=given.refresh_min_interval,
        reconcile_interval=given.reconcile_interval,
        log_format=given.log_format,
        log_level=given.log_level or _LEVELS.get(environment.get("RUST_LOG", "").lower(), "info"),
    )


def _check_source(given: argparse.Namespace) -> None:
    if given.config and given.control_plane_uri:
        raise SettingsError("options -c and -p exclude each other", hint=USAGE_HINT)
    if not given.config and not given.control_plane_uri:
        raise SettingsError(
            "no source of configuration",
            hint="Name a file (-c FILE) or a control plane (-p URI -i COMPUTE_ID).",
        )
    if given.patroni and not given.config:
        raise SettingsError("option --patroni needs -c (a template)", hint=USAGE_HINT)
    if given.control_plane_uri and not given.compute_id:
        raise SettingsError("option -p needs -i (compute id)", hint=USAGE_HINT)


def _ports(given: argparse.Namespace) -> tuple[int, int]:
    named = given.external_http_port is not None or given.internal_http_port is not None
    if given.http_port is not None and named:
        raise SettingsError(
            "option --http-port excludes --external-http-port and --internal-http-port",
            hint=USAGE_HINT,
        )
    if given.http_port is not None and given.lakebase_mode:
        if not 1 <= given.http_port < 65535:
            raise SettingsError(
                f"option --http-port: port {given.http_port} or the next one, which is the "
                "internal port, is not between 1 and 65535"
            )
        return given.http_port, given.http_port + 1
    external, internal = given.external_http_port, given.internal_http_port
    return (
        Settings.external_http_port if external is None else external,
        Settings.internal_http_port if internal is None else internal,
    )


def _warnings(given: argparse.Namespace, environment: Mapping[str, str]) -> list[str]:
    used = [names[-1] for names in UNUSED if getattr(given, flag_dest(names)) is not None]
    used += [name for name in UNUSED_SWITCHES if getattr(given, flag_dest((name,)))]
    if given.http_port is not None and not given.lakebase_mode:
        used.append("--http-port")
    warnings = []
    if given.attach and given.init != Init.AUTO:
        used.append("--init (with --attach)")
    if used:
        warnings.append(f"these options have no effect here: {', '.join(used)}")
    if "INSTANCE_ID" in environment:
        warnings.append("INSTANCE_ID is set, which does not switch off authentication here")
    return warnings


def _path(text: str) -> Path:
    return Path(text).absolute()  # the daemon may change its working directory


def _optional(text: str | None) -> Path | None:
    return _path(text) if text else None
