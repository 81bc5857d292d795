"""What a person is told about a status, beside its facts."""

from typing import Any

import pytest

from compute_ctl.cli.hints import out_of_sync_reason, status_hints

A, B = {"sha256": "a", "generation": 3}, {"sha256": "b", "generation": None}
DRIFT = [{"name": "work_mem", "reason": "overridden", "file": None, "line": None}]


def status(**changes: Any) -> dict[str, Any]:
    """A status of a healthy compute, but for what is said of its parts."""
    return {
        "status": changes.get("status", "running"),
        "error": changes.get("error"),
        "config": {
            "applied": changes.get("applied", A),
            "desired": changes.get("desired", A),
            "quarantined": [],
        },
        "refresh": {
            "last_attempt": {"outcome": changes.get("outcome", "applied")},
            "suspected_since": changes.get("suspected_since"),
            "suspicion": changes.get("suspicion"),
        },
        "postgres": {
            "pid": changes.get("pid", 4711),
            "silent_since": changes.get("silent_since"),
            "silent_because": changes.get("silent_because"),
            "drift": changes.get("drift", []),
            "library_loaded": changes.get("library_loaded", True),
        },
        "closed_ports": changes.get("closed_ports", []),
    }


@pytest.mark.parametrize(
    ("config", "why", "told"),
    [
        ((None, None, []), None, "no document is known"),
        ((A, None, []), None, "the document desired is not in force, nothing is in force"),
        ((B, A, []), None, "the document desired is not in force, generation 3 is in force"),
        ((B, A, [B]), "drift", "the document desired was refused, generation 3 is in force"),
        ((A, A, []), "primary_conninfo: overridden", "primary_conninfo: overridden"),
    ],
)
def test_why_it_is_not_in_sync(config: tuple[Any, Any, Any], why: str | None, told: str) -> None:
    """The reason, and what runs instead."""
    facts = dict(zip(("desired", "applied", "quarantined"), config, strict=True))

    assert told == out_of_sync_reason(facts | {"not_in_force": why})


@pytest.mark.parametrize(
    ("changes", "beginnings"),
    [
        ({}, []),
        ({"closed_ports": ["could not listen on 127.0.0.1:3081"]}, ["End whoever has the port"]),
        (
            {"status": "empty", "desired": None, "applied": None, "pid": None},
            ["Publish a document."],
        ),
        ({"applied": None, "pid": None}, ["Start PostgreSQL, or read its log."]),
        ({"pid": None}, ["Start PostgreSQL, or read its log."]),
        ({"silent_since": "2026-01-01T00:00:00Z"}, ["Is -C right,"]),
        ({"error": "something", "outcome": "fetch_failed"}, ["Mend the source,"]),
        (
            {"error": "something", "outcome": "fetch_failed", "pid": None},
            ["Start PostgreSQL,", "Mend the source,"],
        ),
        ({"error": "work_mem: invalid", "outcome": "rejected"}, ["Mend the document"]),
        ({"error": "quarantined since then: x; y tries again", "outcome": "rejected"}, []),
        ({"error": "cannot roll back: nothing is applied", "outcome": "rejected"}, []),
        (
            {"suspected_since": "2026-01-01T00:00:00Z", "outcome": "unchanged"},
            ["The source still names these servers:"],
        ),
        (
            {
                "suspected_since": "2026-01-01T00:00:00Z",
                "outcome": "unchanged",
                "drift": [{"name": "primary_conninfo", "file": "/d/postgresql.auto.conf"}],
            },
            ["/d/postgresql.auto.conf sets primary_conninfo: ALTER SYSTEM RESET primary_conninfo;"],
        ),
        ({"drift": DRIFT}, ['"compute_ctl explain work_mem" says']),
        ({"drift": DRIFT * 2}, ['"compute_ctl explain SETTING" says']),
        ({"drift": [{"name": "include_if_exists"}]}, ["Put the include line back"]),
        ({"library_loaded": False}, ["Add neon_refresh to shared_preload_libraries,"]),
    ],
)
def test_hints(changes: dict[str, Any], beginnings: list[str]) -> None:
    """Each trouble has its own; where all is well, or the error says it, there is none."""
    found = list(status_hints(status(**changes)))

    assert [hint[: len(start)] for hint, start in zip(found, beginnings, strict=True)] == beginnings


SINCE = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        (
            "could not start WAL streaming: ERROR:  requested starting point 0/5000000 on timeline "
            "1 is not in this server's history",
            "pg_rewind",
        ),
        ("highest timeline 1 of the primary is behind recovery timeline 2", "pg_rewind"),
        (
            "could not receive data from WAL stream: ERROR:  requested WAL segment "
            "000000010000000000000003 has already been removed",
            "restore_command",
        ),
        ("database system identifier differs between the primary and standby", "another cluster"),
        ('ERROR:  replication slot "s" does not exist', "pg_create_physical_replication_slot"),
        ('ERROR:  replication slot "s" is active for PID 4711', "give each its own"),
        ('FATAL:  no pg_hba.conf entry for replication connection from host "::1"', "refuses"),
        (
            "FATAL:  number of requested standby connections exceeds max_wal_senders",
            "max_wal_senders",
        ),
    ],
)
@pytest.mark.parametrize("outcome", ["unchanged", "fetch_failed"])
def test_a_primary_that_is_reached(text: str, helps: str, outcome: str) -> None:
    """Another address does not help where the primary says what it has against this standby."""
    changes = {"suspected_since": SINCE, "outcome": outcome}
    [hint] = status_hints(status(**changes, suspicion={"source": "primary", "text": text}))
    assert helps in hint
    assert "publish the new ones" not in hint


@pytest.mark.parametrize(
    "suspicion",
    [
        {"source": "primary", "text": "connection refused"},
        {"source": "pageserver", "text": "FATAL:  password authentication failed"},
        None,
    ],
)
def test_a_server_that_is_not_reached(suspicion: dict[str, str] | None) -> None:
    """Only another address helps."""
    [hint] = status_hints(status(suspected_since=SINCE, outcome="unchanged", suspicion=suspicion))
    assert hint.startswith("The source still names these servers: publish the new ones")


@pytest.mark.parametrize(
    ("said", "helps"),
    [
        (
            'could not create any TCP/IP sockets (could not bind IPv4 address "127.0.0.1": '
            "Address already in use)",
            "ss -tlnp",
        ),
        ('lock file "postmaster.pid" already exists', "Another PostgreSQL"),
        ('could not access file "nolib": No such file or directory', "without it"),
        ('could not load server certificate file "server.crt": No such file', "ssl = off"),
        ("could not map anonymous shared memory: Cannot allocate memory", "shared_buffers"),
        ('could not write lock file "postmaster.pid": No space left on device', "Free space"),
        ('data directory "/d" has invalid permissions', "0700"),
        ("something new", "Mend that"),
    ],
)
def test_a_server_that_did_not_start(said: str, helps: str) -> None:
    """What the server itself says decides; the last outcome, of the fetch, is beside the point."""
    error = f"postgres did not start: {said}"
    [hint] = status_hints(status(error=error, outcome="rejected", pid=None))
    assert helps in hint


CONTROL_PLANE = 'could not get the configuration from control plane "http://cp": '


@pytest.mark.parametrize(
    ("outcome", "error", "helps"),
    [
        (
            "fetch_failed",
            CONTROL_PLANE + "HTTP status 401 Unauthorized",
            "NEON_CONTROL_PLANE_TOKEN",
        ),
        ("fetch_failed", CONTROL_PLANE + "HTTP status 404 Not Found", "the right -i"),
        ("fetch_failed", CONTROL_PLANE + "HTTP status 503", "Mend the control plane"),
        (
            "fetch_failed",
            CONTROL_PLANE + "could not connect: connection refused",
            "push a document",
        ),
        ("fetch_failed", 'could not read file "/c.json": Permission denied', "owner of the data"),
        ("fetch_failed", 'could not read file "/c.json": No such file or directory', "is -c right"),
        ("fetch_failed", 'file "/c.json" is not valid JSON: line 1, column 2: x', "validate"),
        ("unproven", "postgres does not accept connections yet", "proven by itself"),
        ("unproven", "cannot be asked: FATAL: sorry, too many clients already", "are taken"),
        ("unproven", "no acknowledgement", "neon_refresh"),
        ("write_failed", 'could not replace file "/d/x": No space left on device', "Free space"),
        (
            "write_failed",
            'could not replace file "/d/x": Permission denied',
            "Give that folder back",
        ),
        (
            "write_failed",
            'could not replace file "/d/x": Read-only file system',
            "See to that disk",
        ),
    ],
)
def test_the_reason_decides_what_helps(outcome: str, error: str, helps: str) -> None:
    """An outcome has many causes; what is advised is for the one at hand."""
    [hint] = status_hints(status(error=error, outcome=outcome))
    assert helps in hint


@pytest.mark.parametrize(
    ("because", "helps"),
    [
        ("FATAL: sorry, too many clients already", "All connections are taken"),
        ('FATAL: role "x" does not exist', "refuses the login of -C"),
        ('FATAL: Peer authentication failed for user "x"', "refuses the login of -C"),
        ('on socket "/tmp/.s.PGSQL.1" failed: No such file or directory', "postmaster.pid"),
        ("postgres did not answer in time", "hangs"),
    ],
)
def test_why_the_server_cannot_be_asked(because: str, helps: str) -> None:
    """The server accepts connections, but not the daemon's."""
    [hint] = status_hints(status(silent_since=SINCE, silent_because=because))
    assert helps in hint
