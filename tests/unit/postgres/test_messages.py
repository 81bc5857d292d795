"""What the server's own log says of its start and of reloads."""

import pytest

from compute_ctl.decisions.reload_errors import Part, ReloadError
from compute_ctl.postgres.logs import JOINT
from compute_ctl.postgres.messages import ReloadLog, StartLog

PREFIX = "2026-11-27 03:00:00.000 UTC [123] "


def failure(*messages: str) -> str:
    """Return why a start with these messages failed."""
    log = StartLog()
    for message in messages:
        log.take(PREFIX + message)
    return log.failure


def test_the_fatal_message_and_its_cause() -> None:
    """A FATAL that only sums up comes with the complaint before it; details stay out."""
    assert "" == failure("LOG:  starting PostgreSQL 15.20", "LOG:  listening on IPv4")
    fatal = 'could not load server certificate file "server.crt": No such file or directory'
    assert fatal == failure("LOG:  starting PostgreSQL 15.20", f"FATAL:  {fatal}")
    busy = 'could not bind IPv4 address "127.0.0.1": Address already in use'
    assert f"could not create any TCP/IP sockets ({busy})" == failure(
        f"LOG:  {busy}{JOINT}{PREFIX}HINT:  Is another postmaster already running on port 5432?",
        'WARNING:  could not create listen socket for "127.0.0.1"',
        "FATAL:  could not create any TCP/IP sockets",
        "LOG:  database system is shut down",
    )


def heard(*messages: str) -> tuple[int, list[ReloadError]]:
    """Return how many reloads, and which errors, these messages tell of."""
    reloads: list[None] = []
    errors: list[ReloadError] = []
    log = ReloadLog(on_reload=lambda: reloads.append(None), on_error=errors.append)
    for message in messages:
        log.take(f"{PREFIX}LOG:  {message}")
    return len(reloads), errors


def test_a_reload_that_fails_names_its_generation_and_the_cause() -> None:
    """Both come before it in the log."""
    cause = 'could not load server certificate file "server.crt": No such file or directory'
    assert (1, [
        ReloadError(
            part=Part.SSL, text=f"SSL configuration was not reloaded ({cause})", marker="2.x.y"
        )
    ]) == heard(
        "received SIGHUP, reloading configuration files",
        'parameter "ssl" changed to "on"',
        'parameter "neon_refresh.config_generation" changed to "2.x.y"',
        cause,
        "SSL configuration was not reloaded",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("SSL configuration was not reloaded", Part.SSL),
        ("pg_hba.conf was not reloaded", Part.HBA),
        ("/data/pg_hba.conf was not reloaded", Part.HBA),
        ("pg_ident.conf was not reloaded", Part.IDENT),
        ("/etc/postgresql/16/main/pg_ident.conf was not reloaded", Part.IDENT),
    ],
)
def test_the_texts_of_every_major(said: str, part: Part) -> None:
    """From 16 on a file is called by its path."""
    assert (0, [ReloadError(part=part, text=said)]) == heard(said)
