"""Connection strings as libpq reads them: enough to check one and to take its password out. Pure.

Both forms are read: ``postgresql://user:password@host:port/dbname?key=value`` and
``host=… port=…``. The grammar is libpq's (documentation, "Connection Strings"); which keywords
exist is left to the server. No message quotes any part of a string, since a misplaced character can
make its password look like a host, port or keyword.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from compute_common.errors import SpecError
from compute_common.text import has_control

DEFAULT_PORT: Final = 5432
"""Of libpq."""
SCHEMES: Final = ("postgresql://", "postgres://")
KEYWORDS: Final = frozenset(
    [
        "service",
        "user",
        "password",
        "passfile",
        "channel_binding",
        "connect_timeout",
        "dbname",
        "host",
        "hostaddr",
        "port",
        "client_encoding",
        "options",
        "application_name",
        "fallback_application_name",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "sslmode",
        "sslnegotiation",
        "sslcompression",
        "sslcert",
        "sslkey",
        "sslcertmode",
        "sslpassword",
        "sslrootcert",
        "sslcrl",
        "sslcrldir",
        "sslsni",
        "requirepeer",
        "require_auth",
        "min_protocol_version",
        "max_protocol_version",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "gssencmode",
        "krbsrvname",
        "gsslib",
        "gssdelegation",
        "replication",
        "target_session_attrs",
        "load_balance_hosts",
        "servicefile",
        "scram_client_key",
        "scram_server_key",
        "oauth_issuer",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_scope",
        "sslkeylogfile",
        "authtype",
        "requiressl",
        "requirepeer",
    ]
)
"""The parameters that some libpq knows, from 13 to 18."""
_KEY = re.compile(r"[a-z_]+")
_URL = re.compile(
    r"""(?P<scheme>postgres(?:ql)?://)
    (?:(?P<user>[^:@/]*)(?P<password>:[^@/]*)?@)?
    (?P<hosts>[^/?]*)
    (?:/(?P<dbname>[^?]*))?
    (?:\?(?P<query>.*))?""",
    re.VERBOSE | re.DOTALL,
)
_HOST = re.compile(r"(?:\[(?P<ip6>[^\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
_PAIR = re.compile(
    r"""\s*(?P<key>[^\s=']+)\s*=\s*
    (?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|))
    \s*""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conninfo:
    """What a connection string says."""

    host: str | None
    """Host or, where that is missing, hostaddr; several are joined by commas."""
    port: str | None
    params: Mapping[str, str] = field(repr=False)
    """Everything it sets, by keyword; may hold a password."""

    @property
    def address(self) -> str | None:
        """Host and port as ``host:port``, with libpq's default port; None without a host."""
        return f"{self.host}:{self.port or DEFAULT_PORT}" if self.host else None

    @property
    def password(self) -> str | None:
        """The password in the string, None without one."""
        return self.params.get("password") or None


def parse(text: str, *, path: str = "") -> Conninfo:
    """Read a connection string of either form; *path* names the field in an error.

    Raises:
        SpecError: libpq would not take it.
    """
    if "\0" in text:
        raise SpecError(path, "a connection string cannot hold a NUL")
    params = _parse_url(text, path) if text.startswith(SCHEMES) else _parse_pairs(text, path)
    for port in (params.get("port") or "").split(","):
        _check_port(port, path)
    host = params.get("host") or params.get("hostaddr") or None
    return Conninfo(host=host, port=params.get("port") or None, params=params)


def check_entry(text: str, *, path: str = "") -> Conninfo:
    """Read one entry of a comma-separated list of servers.

    Raises:
        SpecError: not one connection string to one named host.
    """
    if has_control(text):
        raise SpecError(path, "a connection string cannot hold a control character")
    if "," in text:
        raise SpecError(path, "a connection string in a list cannot hold a comma")
    conninfo = parse(text, path=path)
    if not conninfo.host:
        raise SpecError(
            path,
            "names no host",
            hint="Without a host the server would connect to itself.",
        )
    return conninfo


def without_password(text: str, *, path: str = "") -> tuple[str, str | None]:
    """Return *text* without its password, otherwise unchanged, and the password.

    Raises:
        SpecError: libpq would not take it.
    """
    password = parse(text, path=path).password
    if text.startswith(SCHEMES):
        return _strip_url(text), password
    kept = [match[0].strip() for match in _PAIR.finditer(text) if match["key"] != "password"]
    changed = any(match["key"] == "password" for match in _PAIR.finditer(text))
    return (" ".join(kept) if changed else text), password


def _parse_url(text: str, path: str) -> dict[str, str]:
    match = _URL.fullmatch(text)
    if match is None or re.search(r"\s", text):  # libpqs differ in what they make of spaces
        raise SpecError(path, "a connection URL cannot hold white space")
    params: dict[str, str] = {}
    for key in ("user", "password", "dbname"):
        if match[key]:
            params[key] = _decode(
                match[key].removeprefix(":") if key == "password" else match[key], path
            )
    hosts, ports = [], []
    for part in match["hosts"].split(","):
        found = _HOST.fullmatch(part)
        if found is None:
            raise SpecError(path, "invalid host in the connection URL")
        hosts.append(_decode(found["ip6"] or found["name"] or "", path))
        ports.append(_decode(found["port"] or "", path))
    joined = {"host": ",".join(hosts), "port": ",".join(ports)}
    params |= {key: value for key, value in joined.items() if value}
    for item in (match["query"] or "").split("&") if match["query"] else ():
        key, equals, value = item.partition("=")
        if not equals or "=" in value:
            raise SpecError(path, "a parameter of the connection URL is not key=value")
        params[_key(_decode(key, path), path)] = _decode(value, path)
    return params


def _parse_pairs(text: str, path: str) -> dict[str, str]:
    params: dict[str, str] = {}
    position = 0
    while position < len(text.rstrip()):
        match = _PAIR.match(text, position)
        if match is None:
            raise SpecError(path, f"not a connection string: no key=value at offset {position}")
        raw = match["bare"] if match["quoted"] is None else match["quoted"]
        params[_key(match["key"], path)] = re.sub(r"\\(.)", r"\1", raw, flags=re.DOTALL)
        position = match.end()
    return params


def _key(key: str, path: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise SpecError(path, "invalid name of a connection parameter")
    return key


def _check_port(port: str, path: str) -> None:
    if port and not (re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        raise SpecError(path, "port is not a number between 1 and 65535")


def _decode(text: str, path: str) -> str:
    """Undo percent-encoding as libpq does: two hex digits after each %, no NUL."""
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", text):
        raise SpecError(path, "invalid percent-encoding in the connection URL")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise SpecError(path, "the connection URL is not UTF-8") from error


def _strip_url(text: str) -> str:
    match = _URL.fullmatch(text)
    if match is None:
        return text
    if match["query"] is not None:
        items = match["query"].split("&")
        kept = [item for item in items if _decode(item.partition("=")[0], "") != "password"]
        text = text[: match.start("query")].removesuffix("?") + "?" * bool(kept) + "&".join(kept)
    if match["password"] is not None:
        text = text[: match.start("password")] + text[match.end("password") :]
    return text
