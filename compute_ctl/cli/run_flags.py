"""The flags of `compute_ctl run`, and the types of their values.

Parsed by argparse instead of click: what the daemon imports stays in its memory, and click takes
0.6 MB of it.
"""

from __future__ import annotations

import argparse
import math
import re
from typing import Final, NoReturn

from compute_common.errors import SettingsError
from compute_ctl.settings import Init, Settings

UNUSED: Final[tuple[tuple[str, ...], ...]] = (
    ("-r", "--remote-ext-base-url"),
    ("--cgroup",),
    ("--filecache-connstr",),
    ("--vm-monitor-addr",),
    ("--set-disk-quota-for-fs",),
    ("--pg-init-timeout",),
)
"""Flags with a value that have no effect."""
UNUSED_SWITCHES: Final = ("--resize-swap-on-bind", "--dev")
USAGE_HINT: Final = "See compute_ctl run --help."
UNRECOGNIZED: Final = "unrecognized arguments: "
"""Start of argparse's message about unknown flags."""
_ROLE_NAME: Final = re.compile(r"[a-z_]+")


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise SettingsError for a wrong command line."""
        raise SettingsError(message[:1].lower() + message[1:], hint=self._hint(message))

    def _hint(self, message: str) -> str:
        """Return a hint: the flag that was probably meant, else where all are listed."""
        import difflib  # needed only for mistakes

        known = [name for action in self._actions for name in action.option_strings]
        for word in message.removeprefix(UNRECOGNIZED).split():
            name = word.partition("=")[0]
            near = difflib.get_close_matches(name, known, n=1) if name.startswith("--") else []
            if near and message.startswith(UNRECOGNIZED):
                return f"Did you mean {near[0]}? {USAGE_HINT}"
        return USAGE_HINT


def run_parser() -> _Parser:
    """Return the parser of the flags of `run`."""
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
        group.add_argument(*names, dest=flag_dest(names), metavar="X")
    for name in UNUSED_SWITCHES:
        group.add_argument(name, dest=flag_dest((name,)), action="store_true")
    group = parser.add_argument_group("for command lines of Neon's lakebase mode")
    group.add_argument(
        "--lakebase-mode",
        type=boolean,
        default=False,
        metavar="true|false",
        help="make the privileged role without REPLICATION",
    )
    group.add_argument(
        "--http-port",
        type=port,
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
        type=role_name,
        default=Settings.privileged_role,
        help="the role that all roles of a document join (default: %(default)s)",
    )
    add(
        "--installed-extensions-collection-interval",
        metavar="SECONDS",
        type=whole_seconds,
        default=Settings.installed_extensions_interval,
        help="time between two counts of the extensions in all databases (default: %(default)s)",
    )
    add(
        "--init",
        choices=[one.value for one in Init],
        default=Settings.init.value,
        help="how the cluster of an empty data directory is made: from a base backup where the "
        "document names tenant, timeline and pageservers, else by initdb (auto); always by the "
        "one named; or not at all (none) (default: %(default)s)",
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
    add(
        "--patroni",
        metavar="URI",
        help="with -c: the file is a template whose primary is the leader of a Patroni cluster; "
        "URLs of its REST API, separated by commas, or etcd://HOST:PORT,.../service/SCOPE",
    )
    add("-i", "--compute-id", metavar="ID", help="which compute this is")
    add("--control-plane-ca", metavar="FILE", help="PEM file of the authorities to trust for -p")
    _add_bounds(group)


def _add_bounds(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    for what, limit in (
        ("settings", Settings.max_settings),
        ("roles", Settings.max_roles),
        ("databases", Settings.max_databases),
    ):
        add(
            f"--max-{what}",
            metavar="N",
            type=count,
            default=limit,
            help=f"refuse a document with more {what} (default: %(default)s)",
        )
    add(
        "--reconcile-interval",
        metavar="SECONDS",
        type=seconds,
        default=Settings.reconcile_interval,
        help="time between two fetches that nobody asks for (default: %(default)s)",
    )
    add(
        "--refresh-min-interval",
        metavar="SECONDS",
        type=seconds,
        default=Settings.refresh_min_interval,
        help="least time between two fetches (default: %(default)s)",
    )


def _add_daemon(parser: _Parser) -> None:
    group = parser.add_argument_group("the daemon")
    add = group.add_argument
    add("--state-dir", metavar="DIR", help="generations and socket (default: DIR/compute_ctl)")
    add(
        "--internal-http-port",
        metavar="PORT",
        type=port,
        help=f"port on 127.0.0.1 and ::1; 0 picks one (default: {Settings.internal_http_port})",
    )
    add(
        "--external-http-port",
        metavar="PORT",
        type=port,
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
    add(
        "--socket-group",
        metavar="GROUP",
        help="group that may use the unix socket, beside the owner",
    )
    _add_log(parser)


def _add_log(parser: _Parser) -> None:
    add = parser.add_argument_group("its log").add_argument
    add(
        "--log-format",
        choices=("human", "json"),
        default=Settings.log_format,
        help="one line of text or one JSON object a message (default: %(default)s)",
    )
    add(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="least important messages to log (or $RUST_LOG; default: info)",
    )


def flags() -> list[tuple[str, str]]:
    """Return the long flags of `run` and what they are for."""
    return [
        (name, action.help or "")
        for action in run_parser()._actions  # noqa: SLF001 -- argparse offers no other way
        for name in action.option_strings
        if name.startswith("--")
    ]


def flag_dest(names: tuple[str, ...]) -> str:
    """Return the attribute that holds the value of a flag."""
    return names[-1].lstrip("-").replace("-", "_")


def port(text: str) -> int:
    """Return a TCP port, or 0."""
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f'port "{text}" is not between 0 and 65535')


def seconds(text: str) -> float:
    """Return a time above 0 and up to a day, in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a number of seconds from above 0 to 86400'
        )
    return value


def whole_seconds(text: str) -> float:
    """Return a time in whole seconds, as the reference's flags take it."""
    if text.isascii() and text.isdigit() and int(text) < 2**64:
        return float(text)
    raise argparse.ArgumentTypeError(f'"{text}" is not a whole number of seconds')


def count(text: str) -> int:
    """Return a number from 1 to a million."""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000:
        return int(text)
    raise argparse.ArgumentTypeError(f'"{text}" is not a whole number from 1 to 1000000')


def boolean(text: str) -> bool:
    """Return the value of ``true`` or ``false``."""
    if text in ("true", "false"):
        return text == "true"
    raise argparse.ArgumentTypeError(f'"{text}" is neither true nor false')


def role_name(text: str) -> str:
    """Return the name of a role that needs no quotes in SQL."""
    if _ROLE_NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f'"{text}" may hold lower-case letters and _ only')
    return text
