"""PgBouncer: settings go into its file, which it is told to read again.

Paths and addresses are the reference's. All but the named settings stay as they are, comments too.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from compute_common.errors import SpecError
from compute_common.system.atomic_file import ReplacedFile, read_regular
from compute_ctl.document.quoting import check_value
from compute_ctl.sidecars.wanted import Wanted, fingerprint
from compute_ctl.sql.session import PgSession

ANSWER_S: Final = 5.0
MAX_INI_BYTES: Final = 1024 * 1024
SECTION: Final = "pgbouncer"
_HEADER: Final = re.compile(r"\[([^\]]*)\]\s*")
_LINE: Final = re.compile(r"([A-Za-z0-9_]+)\s*=")
_NAME: Final = re.compile(r"[a-z0-9_]+")


def console(environment: Mapping[str, str]) -> tuple[Path, str, str | None]:
    """Return the file, the address of the admin console and its password, None for none."""
    if "AUTOSCALING" in environment:
        return (
            Path("/etc/pgbouncer.ini"),
            "host=/tmp port=6432 dbname=pgbouncer user=pgbouncer",
            None,
        )
    return (
        Path("/var/db/postgres/pgbouncer/pgbouncer.ini"),
        "host=localhost port=6432 dbname=pgbouncer user=postgres sslmode=disable",
        environment.get("PGBOUNCER_PASSWORD"),
    )


def with_settings(text: str, settings: Mapping[str, str]) -> str:
    """Return the file *text* with *settings* in its section for the program itself.

    Raises:
        SpecError: a name or value that no line can hold.
    """
    for name, value in settings.items():
        path = f"spec.pgbouncer_settings.{name}"
        if _NAME.fullmatch(name) is None:
            raise SpecError("spec.pgbouncer_settings", "expected names of settings in lower case")
        check_value(value, path)
    left, lines, section = dict(settings), list[str](), ""
    for line in text.removesuffix("\n").split("\n") if text else ():
        header, setting = _HEADER.fullmatch(line.strip()), _LINE.match(line.strip())
        if header is not None:
            if section == SECTION:
                lines += [f"{name} = {value}" for name, value in left.items()]
                left = {}
            section = header[1]
        elif section == SECTION and setting is not None and setting[1].lower() in settings:
            name = setting[1].lower()
            if name in left:
                lines.append(f"{name} = {left.pop(name)}")
            continue
        lines.append(line)
    if left and section != SECTION:
        lines.append(f"[{SECTION}]")
    lines += [f"{name} = {value}" for name, value in left.items()]
    return "\n".join(lines) + "\n"


def write(path: Path, data: bytes) -> None:
    """Make *data* the content of *path*, which keeps its owner. Raises OSError.

    As a whole, but where only the file is the daemon's and not its folder: in the reference's
    virtual machines it is in /etc.
    """
    try:
        ReplacedFile(path, reserve_bytes=0, keep_owner=True).replace(data)
    except PermissionError:
        with path.open("r+b") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


class Pgbouncer:
    """PgBouncer on this machine."""

    name = "pgbouncer"

    def __init__(self, ini: Path, connstr: str, password: str | None) -> None:
        """*connstr*: of its admin console."""
        self._ini, self._connstr, self._password = ini, connstr, password
        self._applied: object = None

    def names(self, wanted: Wanted) -> bool:
        """Whether the document says anything of it."""
        return bool(wanted.pgbouncer)

    def apply(self, wanted: Wanted) -> bool:
        """Bring what the document says into force; False where there is none. Blocks.

        Raises:
            OSError, ProbeError, SpecError: it cannot be done.
        """
        settings = dict(wanted.pgbouncer or {})
        if not self._ini.exists():
            self._applied = None
            return False
        if wanted.tls is not None:
            settings |= {
                "client_tls_cert_file": wanted.tls.cert_path,
                "client_tls_key_file": wanted.tls.key_path,
                "client_tls_sslmode": "allow",
            }
        key = settings, fingerprint(wanted.tls)
        if key == self._applied:
            return True
        before = read_regular(self._ini, max_bytes=MAX_INI_BYTES)
        after = with_settings(before.decode(), settings).encode()
        if after != before:
            write(self._ini, after)
        self._reload()
        self._applied = key
        return True

    def _reload(self) -> None:
        session = PgSession(
            self._connstr,
            time.monotonic() + ANSWER_S,
            password=self._password,
            peer="pgbouncer",
        )
        try:
            session.connect()
            session.query("RELOAD")
        finally:
            session.close()
