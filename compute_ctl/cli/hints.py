"""Hints: what to do about a status or an outcome. Pure.

They are the short form of the table in the operating guide. The patterns match untranslated
messages, which is what the daemon shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from compute_ctl.decisions.logins import SLOW_LOGIN_MS
from compute_ctl.decisions.model import GOOD_OUTCOMES, Outcome, Suspicion
from compute_ctl.decisions.status import ConfigView, DriftView, StatusBody
from compute_ctl.decisions.transitions import Status
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS

Hints = tuple[tuple[str, str], ...]
"""Pairs of a regular expression and a hint; the first match counts."""
_PUSH: Final = "If that takes long, push a document (POST /configure on the socket)."

PRIMARY_HINTS: Final[Hints] = (
    (
        r"is not in this server's history|is behind recovery timeline"
        r"|forked off current database system timeline|is not a child of database system timeline",
        "The histories of primary and standby have diverged. Publish another primary, or stop this "
        "standby and run pg_rewind, or rebuild it (pg_basebackup).",
    ),
    (
        "has already been removed",
        "The primary has removed log that this standby needs. Get it from the archive "
        "(restore_command), or rebuild the standby (pg_basebackup); a replication slot "
        "(primary_slot_name) or wal_keep_size avoids that.",
    ),
    (
        "system identifier differs",
        "That primary is another cluster: publish the right one, or rebuild this standby from it.",
    ),
    (
        r"replication slot .* does not exist",
        "Make the slot on the primary (pg_create_physical_replication_slot), or publish "
        "another primary_slot_name.",
    ),
    (r"replication slot .* is active", "Another standby uses that slot: give each its own."),
    (
        "max_wal_senders|number of requested standby connections",
        "The primary has no free connection for a standby: raise its max_wal_senders.",
    ),
    (
        r"authentication failed|no pg_hba\.conf entry|role .* does not exist|no password supplied",
        "The primary refuses the login: mend its roles or pg_hba.conf, or the password here "
        "(passfile).",
    ),
)
"""By the message of a primary that is reached but does not serve this standby."""
START_HINTS: Final[Hints] = (
    (
        "Address already in use|could not create any (TCP/IP|Unix-domain) sockets",
        'Another program, perhaps another PostgreSQL, has that port: "ss -tlnp" names it. Stop '
        "it, or publish another port.",
    ),
    (
        "lock file .* already exists",
        "Another PostgreSQL has that data directory or socket: stop it.",
    ),
    (
        r"could not (access file|load library)",
        "Install that library, or publish shared_preload_libraries without it.",
    ),
    ("No space left on device", "Free space on the disk."),
    (
        "could not (create|map|resize) .*shared memory|Cannot allocate memory",
        "The machine lacks memory for these settings: publish a smaller shared_buffers.",
    ),
    (
        "certificate|private key",
        "Mend that file, or publish ssl = off.",
    ),
    (
        "invalid permissions|wrong ownership",
        "Give the data directory to the user of PostgreSQL, with mode 0700.",
    ),
)
"""By the message of a server that the daemon could not start."""
FETCH_HINTS: Final[Hints] = (
    (
        "HTTP status 40[13]",
        "Start the daemon with the right NEON_CONTROL_PLANE_TOKEN; PostgreSQL runs on meanwhile.",
    ),
    ("HTTP status 404", "Start the daemon with the right -i; PostgreSQL runs on meanwhile."),
    (
        'could not read file ".*": Permission denied',
        "Let the owner of the data directory read that file: the daemon runs as that user. "
        + _PUSH,
    ),
    ('could not read file ".*": No such file', f"Put the file back, or is -c right? {_PUSH}"),
    (
        "file .* is not valid JSON",
        f'Mend the file, "compute_ctl validate FILE" checks it; it is read again. {_PUSH}',
    ),
    (
        "could not connect|no answer in time|connection|HTTP status 5",
        "Mend the control plane, it is asked again by itself. PostgreSQL runs on with what it has. "
        + _PUSH,
    ),
)
"""Hints by the reason why no document could be fetched."""
WRITE_HINTS: Final[Hints] = (
    (
        "No space left on device|[Qq]uota exceeded",
        'Free space on that disk, then "compute_ctl refresh". The old file is in force.',
    ),
    (
        "Permission denied|Operation not permitted",
        "Give that folder back to the owner of the data directory, mode 0700, then "
        '"compute_ctl refresh". The old file is in force.',
    ),
    (
        "Read-only file system|Input/output error",
        'See to that disk, then "compute_ctl refresh". The old file is in force.',
    ),
)
"""By the reason why the configuration file could not be written."""
SQL_HINTS: Final[Hints] = (
    (
        "too many clients|connection slots are reserved|too many connections",
        "All connections are taken: end some, or raise max_connections.",
    ),
    (
        r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist",
        "The server refuses the login of -C. The daemon logs in as the owner of the data directory "
        "where -C names no other user and password.",
    ),
    ("database .* does not exist", "Name a database in -C that is there, for example postgres."),
    (
        "No such file or directory|Connection refused|could not translate host name",
        "Nothing listens where -C says: compare its host and port with lines 4 to 6 of "
        "postmaster.pid.",
    ),
    ("in time", "The server takes the connection and hangs: look at its log and at its storage."),
)
"""By the reason why a server that accepts connections cannot be asked over SQL."""
UNPROVEN_HINTS: Final[Hints] = (
    (
        "does not accept connections",
        "PostgreSQL does not run, or starts or stops just now: see its log. What is written is "
        "proven by itself once it runs.",
    ),
    *SQL_HINTS,
)
"""By the reason why PostgreSQL has not confirmed what was written."""
AUTO_CONF: Final = "postgresql.auto.conf"
"""Where ALTER SYSTEM writes."""

_BY_OUTCOME: Final = {
    "rejected": "Mend the document and publish it as a newer version.",
    "fetch_failed": "Mend the source, it is asked again by itself; or push a document "
    "(POST /configure on the socket).",
    "stale": "The source is behind. To go back, publish the old content as a newer version.",
    "unproven": "It is tried again. Is PostgreSQL hung, is -C right, is neon_refresh loaded?",
    "blocked": 'Mend the file named, then "compute_ctl refresh".',
    "write_failed": 'Free space, or mend the rights, then "compute_ctl refresh".',
    "not_promoted": "The standby follows as before. Mend what the reason names, then "
    '"compute_ctl promote" tries again.',
    "timeout": 'It goes on: "compute_ctl status" tells how far it is.',
}
_START_FAILED: Final = "postgres did not start"


def out_of_sync_reason(config: ConfigView) -> str:
    """Return why the desired document is not in force."""
    desired, applied = config.desired, config.applied
    if desired is None:
        return "no document is known"
    runs = f"generation {applied.generation} is in force" if applied else "nothing is in force"
    if desired.sha256 in {one.sha256 for one in config.quarantined}:
        return f"the document desired was refused, {runs}"
    if applied and applied.sha256 == desired.sha256 and config.not_in_force:
        return config.not_in_force
    return f"the document desired is not in force, {runs}"


def status_hints(body: StatusBody) -> Iterator[str]:
    """Yield what to do about the problems that the status *body* shows."""
    postgres, refresh, error = body.postgres, body.refresh, body.error or ""
    outcome = refresh.last_attempt.outcome if refresh.last_attempt else None
    if body.status is Status.EMPTY:
        yield "Publish a document. Is -c or -p right?"
    start_failed = error.startswith(_START_FAILED)
    if not postgres.pid and body.config.desired and not start_failed:
        yield "Start PostgreSQL, or read its log. With --attach the daemon does not start it."
    if postgres.silent_since:
        because = matching_hint(SQL_HINTS, postgres.silent_because or "")
        yield f"{because or 'Is -C right, are all connections taken?'} Healing does not need SQL."
    if start_failed:
        yield matching_hint(START_HINTS, error) or "Mend that; a refresh or a push tries again."
    elif error and not _explains_itself(error) and outcome in _BY_OUTCOME:
        yield outcome_hint(outcome, error)
    if refresh.suspected_since and not _servers_overridden(postgres.drift):
        yield from _suspected(refresh.suspicion, outcome)
    if postgres.drift:
        yield _drift_hint(postgres.drift)
    if (postgres.login_ms or 0) > SLOW_LOGIN_MS:
        yield "Look at pre_auth_delay, at the load, and at what pg_hba.conf asks of the daemon."
    if body.config.not_kept:
        yield (
            "Free space, or mend the disk of the state directory: after a crash the daemon would "
            "not know what runs. The next attempt keeps it."
        )
    if body.closed_ports:
        yield (
            'End whoever has the port ("ss -ltnp" as root names it), or choose another by '
            "--internal-http-port or --external-http-port. Healing does not need it."
        )
    if postgres.library_loaded is False:
        yield "Add neon_refresh to shared_preload_libraries, and restart PostgreSQL."


def outcome_hint(outcome: str, reason: str) -> str:
    """Return what to do about an *outcome*; '' if its *reason* already says so."""
    if _explains_itself(reason):
        return ""
    tables = {"fetch_failed": FETCH_HINTS, "write_failed": WRITE_HINTS, "unproven": UNPROVEN_HINTS}
    return matching_hint(tables.get(outcome, ()), reason) or _BY_OUTCOME.get(outcome, "")


def _suspected(suspicion: Suspicion | None, outcome: Outcome | None) -> Iterator[str]:
    """Yield what to do while PostgreSQL reports trouble with a server it depends on."""
    if suspicion and suspicion.source == "primary":
        found = matching_hint(PRIMARY_HINTS, suspicion.text)
        if found:  # no other address mends that
            yield found
            return
    if outcome in GOOD_OUTCOMES:
        yield "The source still names these servers: publish the new ones."


def _drift_hint(drift: Sequence[DriftView]) -> str:
    names = [one.name for one in drift]
    if "include_if_exists" in names:
        return "Put the include line back that the log of the daemon names, and reload PostgreSQL."
    first = next((one for one in drift if one.name in UPSTREAM_SETTINGS), drift[0])
    if str(first.file).endswith(AUTO_CONF):
        reset = f"ALTER SYSTEM RESET {first.name}; SELECT pg_reload_conf();"
        return f"{first.file} sets {first.name}: {reset}"
    name = names[0] if len(names) == 1 else "SETTING"
    return f'"compute_ctl explain {name}" says by what: ALTER SYSTEM RESET, or remove that line.'


def _servers_overridden(drift: Sequence[DriftView]) -> bool:
    """Return whether the servers that Postgres uses are not those of the document."""
    return any(one.name in UPSTREAM_SETTINGS for one in drift)


def _explains_itself(error: str) -> bool:
    """Return whether *error* itself says what to do."""
    return error.startswith(("quarantined ", "cannot roll back: "))


def matching_hint(hints: Hints, text: str) -> str | None:
    """Return the hint of the first pattern that *text* has."""
    return next((hint for pattern, hint in hints if re.search(pattern, text)), None)
