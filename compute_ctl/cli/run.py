"""The command line of the daemon itself: `compute_ctl run`, or bare flags.

The flags of Neon's compute_ctl are all taken. Those that steer what this daemon does not do are
accepted, and named in one warning, so that an existing command line works unchanged.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from compute_ctl.cli import values
from compute_ctl.errors import SettingsError
from compute_ctl.settings import Settings

UNUSED: Final[tuple[tuple[str, ...], ...]] = (
    ("-r", "--remote-ext-base-url"),
    ("--cgroup",),
    ("--filecache-connstr",),
    ("--vm-monitor-addr",),
    ("--set-disk-quota-for-fs",),
    ("--pg-init-timeout",),
)
"""Flags with a value that mean nothing here."""
UNUSED_SWITCHES: Final = ("--resize-swap-on-bind", "--dev")
DEFAULT_COMPUTE_ID: Final = "local"
USAGE_HINT: Final = "See compute_ctl run --help."
UNRECOGNIZED: Final = "unrecognized arguments: "
"""How argparse begins its complaint about flags that it does not know."""

_LEVELS: Final = {"trace": "debug", "debug": "debug", "info": "info", "warn": "warning"} | {
    name: name for name in ("warning", "error")
}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the command line and the environment say."""

    settings: Settings
    warnings: tuple[str, ...]
    """Lines for the log."""
    pgbin_given: bool
    """Somebody named the server binary."""


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing and exiting."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise SettingsError(message[:1].lower() + message[1:], hint=self._hint(message))

    def _hint(self, message: str) -> str:
        """Return the flag that was probably meant, else where all are listed."""
        import difflib  # for mistakes only

        known = [name for action in self._actions for name in action.option_strings]
        for word in message.removeprefix(UNRECOGNIZED).split():
            name = word.partition("=")[0]
            near = difflib.get_close_matches(name, known, n=1) if name.startswith("--") else []
            if near and message.startswith(UNRECOGNIZED):
                return f"Did you mean {near[0]}? {USAGE_HINT}"
        return USAGE_HINT


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> RunOptions:
    """Read the command line.

    Raises:
        SettingsError: it cannot be used.
        SystemExit: help was asked for and printed.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    pgdata = given.pgdata or environment.get("PGDATA")
    if not pgdata:
        raise SettingsError("option -D (data directory) is missing", hint=USAGE_HINT)
    if not given.connstr:
        raise SettingsError("option -C (connection string) is missing", hint=USAGE_HINT)
    _check_source(given)
    external, internal = _ports(given)
    pgbin = given.pgbin or environment.get("POSTGRES_PATH")
    settings = Settings(
        pgdata=_path(pgdata),
        connstr=given.connstr,
        compute_id=given.compute_id or DEFAULT_COMPUTE_ID,
        attach=given.attach,
        config_path=_optional(given.config),
        control_plane_uri=given.control_plane_uri,
        control_plane_token=environment.get("NEON_CONTROL_PLANE_TOKEN", ""),
        control_plane_ca=_optional(given.control_plane_ca),
        pgbin=pgbin or Settings.pgbin,
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
    return RunOptions(
        settings=settings,
        warnings=tuple(_warnings(given, environment)),
        pgbin_given=pgbin is not None,
    )


def flags() -> list[tuple[str, str]]:
    """Return the long flags of `run` and what they are for."""
    return [
        (name, action.help or "")
        for action in _parser()._actions  # noqa: SLF001 -- argparse offers no other way
        for name in action.option_strings
        if name.startswith("--")
    ]


def _check_source(given: argparse.Namespace) -> None:
    if given.config and given.control_plane_uri:
        raise SettingsError("options -c and -p exclude each other", hint=USAGE_HINT)
    if not given.config and not given.control_plane_uri:
        raise SettingsError(
            "no source of configuration",
            hint="Name a file (-c FILE) or a control plane (-p URI -i COMPUTE_ID).",
        )
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
            raise SettingsError("option --http-port needs room for two ports")
        return given.http_port, given.http_port + 1
    external, internal = given.external_http_port, given.internal_http_port
    return (
        Settings.external_http_port if external is None else external,
        Settings.internal_http_port if internal is None else internal,
    )


def _warnings(given: argparse.Namespace, environment: Mapping[str, str]) -> list[str]:
    used = [names[-1] for names in UNUSED if getattr(given, _dest(names)) is not None]
    used += [name for name in UNUSED_SWITCHES if getattr(given, _dest((name,)))]
    if given.http_port is not None and not given.lakebase_mode:
        used.append("--http-port")
    warnings = []
    if used:
        warnings.append(f"these options have no effect here: {', '.join(used)}")
    if "INSTANCE_ID" in environment:
        warnings.append("INSTANCE_ID is set, which does not switch off authentication here")
    return warnings


def _parser() -> _Parser:
    parser = _Parser(
        prog="compute_ctl run",
        description="Keep a Postgres on the configuration it should run with.",
        epilog="Environment: PGDATA, POSTGRES_PATH, NEON_CONTROL_PLANE_TOKEN, RUST_LOG (level). "
        "Exit status: Postgres's own; 1 after a failure; 2 if the command line cannot be used.",
        allow_abbrev=False,
    )
    _add_server(parser)
    _add_source(parser)
    _add_daemon(parser)
    group = parser.add_argument_group("accepted for compatibility, without effect")
    for names in UNUSED:
        group.add_argument(*names, dest=_dest(names), metavar="X")
    for name in UNUSED_SWITCHES:
        group.add_argument(name, dest=_dest((name,)), action="store_true")
    group = parser.add_argument_group("for command lines of Neon's lakebase mode")
    group.add_argument(
        "--lakebase-mode",
        type=values.boolean,
        default=False,
        metavar="true|false",
        help="make the privileged role without REPLICATION",
    )
    group.add_argument(
        "--http-port",
        type=values.port,
        metavar="PORT",
        help="with --lakebase-mode true: external port, the internal one is the next; "
        "else without effect",
    )
    return parser


def _add_server(parser: _Parser) -> None:
    group = parser.add_argument_group("the server")
    add = group.add_argument
    add("-D", "--pgdata", metavar="DIR", help="data directory (or $PGDATA)")
    add("-C", "--connstr", metavar="CONNINFO", help="superuser connection to the server")
    add("-b", "--pgbin", metavar="FILE", help="server binary (or $POSTGRES_PATH)")
    add(
        "--privileged-role-name",
        metavar="ROLE",
        type=values.role_name,
        default=Settings.privileged_role,
        help="the role that all roles of a document join (default: %(default)s)",
    )
    add(
        "--installed-extensions-collection-interval",
        metavar="SECONDS",
        type=values.whole_seconds,
        default=Settings.installed_extensions_interval,
        help="between two counts of the extensions in all databases (default: %(default)s)",
    )
    add("--attach", action="store_true", help="Postgres is run by somebody else")
    add("--config-file", metavar="FILE", help="with --attach: the server's main configuration file")


def _add_source(parser: _Parser) -> None:
    group = parser.add_argument_group("the configuration")
    add = group.add_argument
    add("-c", "--config", metavar="FILE", help="read the document from a file")
    add(
        "-p",
        "--control-plane-uri",
        metavar="URI",
        help="pull the document from a control plane; several addresses are separated by commas",
    )
    add("-i", "--compute-id", metavar="ID", help="which compute this is")
    add("--control-plane-ca", metavar="FILE", help="PEM file of the authorities to trust for -p")
    for what, limit in (
        ("settings", Settings.max_settings),
        ("roles", Settings.max_roles),
        ("databases", Settings.max_databases),
    ):
        add(
            f"--max-{what}",
            metavar="N",
            type=values.count,
            default=limit,
            help=f"refuse a document with more {what} (default: %(default)s)",
        )
    add(
        "--reconcile-interval",
        metavar="SECONDS",
        type=values.seconds,
        default=Settings.reconcile_interval,
        help="between two looks without being asked (default: %(default)s)",
    )
    add(
        "--refresh-min-interval",
        metavar="SECONDS",
        type=values.seconds,
        default=Settings.refresh_min_interval,
        help="between two looks at least (default: %(default)s)",
    )


def _add_daemon(parser: _Parser) -> None:
    group = parser.add_argument_group("the daemon")
    add = group.add_argument
    add("--state-dir", metavar="DIR", help="generations and socket (default: DIR/compute_ctl)")
    add(
        "--internal-http-port",
        metavar="PORT",
        type=values.port,
        help=f"port on 127.0.0.1 and ::1; 0 picks one (default: {Settings.internal_http_port})",
    )
    add(
        "--external-http-port",
        metavar="PORT",
        type=values.port,
        help="port on all addresses for callers with a token; 0 opens none "
        f"(default: {Settings.external_http_port})",
    )
    add(
        "--allow-tokens-without-exp",
        action="store_true",
        help="take tokens that never expire",
    )
    add(
        "--extensions-on-loopback",
        action="store_true",
        help="serve /extensions and /grants to any local process",
    )
    add("--socket-group", metavar="GROUP", help="who besides the owner may use the unix socket")
    add("--log-format", choices=("human", "json"), default=Settings.log_format)
    add("--log-level", choices=("debug", "info", "warning", "error"))


def _dest(names: tuple[str, ...]) -> str:
    return names[-1].lstrip("-").replace("-", "_")


def _path(text: str) -> Path:
    return Path(text).absolute()  # the daemon may change its working directory


def _optional(text: str | None) -> Path | None:
    return _path(text) if text else None
