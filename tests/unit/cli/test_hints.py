"""What a person is told about a status, beside its facts."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from compute_ctl.cli.hints import out_of_sync_reason, status_hints
from compute_ctl.decisions.model import Attempt, Outcome, Suspicion
from compute_ctl.decisions.status import (
    ConfigView,
    DesiredView,
    DriftView,
    GenerationView,
    PostgresView,
    QuarantinedView,
    RefreshView,
    Shown,
    StatusBody,
)
from compute_ctl.decisions.transitions import Status
from tests.unit.snapshots import having

AT = datetime(2026, 1, 1, tzinfo=UTC)
A = GenerationView(generation=3, sha256="a", version=None, at=AT)
WANTS_A = DesiredView(generation=3, sha256="a", version=None, at=AT, source="file")
WANTS_B = replace(WANTS_A, generation=None, sha256="b")
REFUSED_B = QuarantinedView(sha256="b", reason="", at=AT, version=None, operation_uuid=None)


def drift(name: str, file: str | None = None) -> DriftView:
    """A setting that something overrides."""
    return DriftView(name=name, reason="overridden", file=file, line=None)


def attempt(outcome: str) -> Attempt:
    """An attempt that ended so."""
    return Attempt(
        number=1,
        who="tick",
        started_at=AT,
        finished_at=AT,
        duration_ms=1.0,
        outcome=Outcome(outcome),
    )


def status(**changes: Any) -> StatusBody:
    """A status of a healthy compute, but for what is said of its parts."""
    parts: dict[type[Shown], dict[str, Any]] = {
        ConfigView: {"applied": A, "desired": WANTS_A},
        RefreshView: {"last_attempt": attempt(changes.pop("outcome", "applied"))},
        PostgresView: {"pid": 4711, "library_loaded": True},
        StatusBody: {"status": Status.RUNNING},
    }
    for name, value in changes.items():
        part = next(part for part in parts if name in part.__struct_fields__)
        parts[part][name] = value
    config, refresh, postgres, fields = parts.values()
    return having(config=config, refresh=refresh, postgres=postgres, **fields)


@pytest.mark.parametrize(
    ("config", "why", "told"),
    [
        ((None, None, ()), None, "no document is known"),
        ((WANTS_A, None, ()), None, "the document desired is not in force, nothing is in force"),
        ((WANTS_B, A, ()), None, "the document desired is not in force, generation 3 is in force"),
        (
            (WANTS_B, A, (REFUSED_B,)),
            "drift",
            "the document desired was refused, generation 3 is in force",
        ),
        ((WANTS_A, A, ()), "primary_conninfo: overridden", "primary_conninfo: overridden"),
    ],
)
def test_why_it_is_not_in_sync(config: tuple[Any, Any, Any], why: str | None, told: str) -> None:
    """The reason, and what runs instead."""
    facts = dict(zip(("desired", "applied", "quarantined"), config, strict=True))

    assert told == out_of_sync_reason(having(config=facts | {"not_in_force": why}).config)


@pytest.mark.parametrize(
    ("changes", "beginnings"),
    [
        ({}, []),
        ({"not_kept": "could not keep generation 2"}, ["Free space, or mend the disk"]),
        ({"closed_ports": ("could not listen on 127.0.0.1:3081",)}, ["End whoever has the port"]),
        (
            {"status": Status.EMPTY, "desired": None, "applied": None, "pid": None},
            ["Publish a document."],
        ),
        ({"applied": None, "pid": None}, ["Start PostgreSQL, or read its log."]),
        ({"pid": None}, ["Start PostgreSQL, or read its log."]),
        ({"silent_since": AT}, ["Is -C right,"]),
        ({"error": "something", "outcome": "fetch_failed"}, ["Mend the source,"]),
        (
            {"error": "something", "outcome": "fetch_failed", "pid": None},
            ["Start PostgreSQL,", "Mend the source,"],
        ),
        ({"error": "work_mem: invalid", "outcome": "rejected"}, ["Mend the document"]),
        ({"error": "quarantined since then: x; y tries again", "outcome": "rejected"}, []),
        ({"error": "cannot roll back: nothing is applied", "outcome": "rejected"}, []),
        (
            {"suspected_since": AT, "outcome": "unchanged"},
            ["The source still names these servers:"],
        ),
        (
            {
                "suspected_since": AT,
                "outcome": "unchanged",
                "drift": (drift("primary_conninfo", "/d/postgresql.auto.conf"),),
            },
            ["/d/postgresql.auto.conf sets primary_conninfo: ALTER SYSTEM RESET primary_conninfo;"],
        ),
        ({"drift": (drift("work_mem"),)}, ['"compute_ctl explain work_mem" says']),
        ({"drift": (drift("work_mem"),) * 2}, ['"compute_ctl explain SETTING" says']),
        ({"drift": (drift("include_if_exists"),)}, ["Put the include line back"]),
        ({"library_loaded": False}, ["Add neon_refresh to shared_preload_libraries,"]),
    ],
)
def test_hints(changes: dict[str, Any], beginnings: list[str]) -> None:
    """Each trouble has its own; where all is well, or the error says it, there is none."""
    found = list(status_hints(status(**changes)))

    assert [hint[: len(start)] for hint, start in zip(found, beginnings, strict=True)] == beginnings


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
    changes = {"suspected_since": AT, "outcome": outcome}
    [hint] = status_hints(status(**changes, suspicion=Suspicion(source="primary", text=text)))
    assert helps in hint
    assert "publish the new ones" not in hint


@pytest.mark.parametrize(
    "suspicion",
    [
        Suspicion(source="primary", text="connection refused"),
        Suspicion(source="pageserver", text="FATAL:  password authentication failed"),
        None,
    ],
)
def test_a_server_that_is_not_reached(suspicion: Suspicion | None) -> None:
    """Only another address helps."""
    [hint] = status_hints(status(suspected_since=AT, outcome="unchanged", suspicion=suspicion))
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
    [hint] = status_hints(status(silent_since=AT, silent_because=because))
    assert helps in hint
