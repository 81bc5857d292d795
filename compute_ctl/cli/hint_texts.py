"""What helps, by what a server, a library or the system says. Pure data and one search.

The patterns are about untranslated messages: those that the daemon shows.
"""

from __future__ import annotations

import re
from typing import Final

Hints = tuple[tuple[str, str], ...]
"""Pairs of a regular expression and a hint; the first that is found counts."""
_PUSH: Final = "If that takes long, push a document (POST /configure on the socket)."

OF_PRIMARY: Final[Hints] = (
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
"""What a primary says that is reached but does not serve this standby, and what helps."""
OF_START: Final[Hints] = (
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
OF_FETCH: Final[Hints] = (
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
"""Why a source gave no document, and what helps."""
OF_WRITE: Final[Hints] = (
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
"""Why a configuration file could not be written, and what helps."""
OF_SILENCE: Final[Hints] = (
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
"""Why the daemon cannot ask a server over SQL that accepts connections, and what helps."""
OF_UNPROVEN: Final[Hints] = (
    (
        "does not accept connections",
        "PostgreSQL does not run, or starts or stops just now: see its log. What is written is "
        "proven by itself once it runs.",
    ),
    *OF_SILENCE,
)
"""Why PostgreSQL has not proven what was written, and what helps."""


def find(hints: Hints, text: str) -> str | None:
    """Return the hint of the first pattern that *text* has."""
    return next((hint for pattern, hint in hints if re.search(pattern, text)), None)
