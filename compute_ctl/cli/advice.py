"""What a status means to the person who reads it, and what to do about it. Pure.

The hints are the short form of the operating guide's table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_BY_OUTCOME: Final = {
    "rejected": "Mend the document and publish it as a newer version.",
    "fetch_failed": "Mend the source, it is asked again by itself; or push a document "
    "(POST /configure on the socket).",
    "stale": "The source is behind. To go back, publish the old content as a newer version.",
    "unproven": "It is tried again. Is PostgreSQL hung, is -C right, is neon_refresh loaded?",
    "blocked": 'Mend the file named, then "compute_ctl refresh".',
    "write_failed": 'Free space, or mend the rights, then "compute_ctl refresh".',
}
_SUSPECTED_IN_VAIN: Final = frozenset({"unchanged", "applied"})
_OF_PRIMARY: Final = (
    (
        r"is not in this server's history|is behind recovery timeline",
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
"""What a primary says that is reached but does not serve this standby, and what helps."""
_OF_START: Final = (
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
"""Why a server that the daemon starts did not come up, and what helps."""
_DID_NOT_START: Final = "postgres did not start"


def out_of_sync(config: Mapping[str, Any], drift: object) -> str:
    """Return why what is desired is not in force."""
    desired, applied = config["desired"], config["applied"]
    if desired is None:
        return "no document is known"
    runs = f"generation {applied['generation']} is in force" if applied else "nothing is in force"
    if desired["sha256"] in {one["sha256"] for one in config["quarantined"]}:
        return f"the document desired was refused, {runs}"
    if applied and applied["sha256"] == desired["sha256"] and drift:
        return "its servers are overridden by something else"
    return f"the document desired is not in force, {runs}"


def hints(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may be done about what the status *body* shows."""
    postgres, refresh, config = body["postgres"], body["refresh"], body["config"]
    outcome = (refresh["last_attempt"] or {}).get("outcome")
    if body["status"] == "empty":
        yield "Publish a document. Is -c or -p right?"
    started_in_vain = (body["error"] or "").startswith(_DID_NOT_START)
    if not postgres["pid"] and config["applied"] and not started_in_vain:
        yield "Start PostgreSQL, or read its log. With --attach the daemon does not start it."
    if postgres.get("silent_since"):
        yield "Is -C right, are all connections taken? Healing does not need SQL."
    if started_in_vain:
        yield _found(_OF_START, body["error"]) or "Mend that; a refresh or a push tries again."
    elif body["error"] and not _tells(body["error"]) and outcome in _BY_OUTCOME:
        yield _BY_OUTCOME[outcome]
    if refresh["suspected_since"]:
        yield from _suspected(refresh.get("suspicion"), outcome)
    if postgres["drift"]:
        yield _of_drift([one["name"] for one in postgres["drift"]])
    if postgres.get("library_loaded") is False:
        yield "Add neon_refresh to shared_preload_libraries, and restart PostgreSQL."


def _suspected(suspicion: Mapping[str, Any] | None, outcome: str | None) -> Iterator[str]:
    """Yield what may be done while PostgreSQL complains of a server."""
    if suspicion and suspicion["source"] == "primary":
        found = _found(_OF_PRIMARY, suspicion["text"])
        if found:  # no other address mends that
            yield found
            return
    if outcome in _SUSPECTED_IN_VAIN:
        yield "The source still names these servers: publish the new ones."


def _found(hints: Sequence[tuple[str, str]], text: str) -> str | None:
    """Return the hint of the first pattern that *text* has."""
    return next((hint for pattern, hint in hints if re.search(pattern, text)), None)


def _of_drift(names: Sequence[str]) -> str:
    if "include_if_exists" in names:
        return "Put the include line back that the log of the daemon names, and reload PostgreSQL."
    name = names[0] if len(names) == 1 else "SETTING"
    return f'"compute_ctl explain {name}" says by what: ALTER SYSTEM RESET, or remove that line.'


def _tells(error: str) -> bool:
    """Whether *error* itself says what to do, or nothing can be done."""
    return error.startswith(("quarantined ", "cannot roll back: "))
